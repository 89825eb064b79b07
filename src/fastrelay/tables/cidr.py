"""cidr: networks and what to answer for addresses in them, cidr_table(5). The first rule that matches wins.

Runs of plain rules are indexed by prefix length; `if`, `endif` and `!` make the steps between the runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastrelay.tables.netblock import Address, Network, NetworkIndex, parse_address, parse_network
from fastrelay.tables.table import SourceTable
from fastrelay.tables.text import WHITESPACE, SyntaxProblem, source_lines


@dataclass(slots=True)
class _Run:
    """Plain rules one after the other."""

    index: NetworkIndex = field(default_factory=NetworkIndex)
    values: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Negated:
    """`!network value`: matches the addresses of the same family outside it."""

    network: Network
    value: bytes


@dataclass(slots=True)
class _If:
    """`if [!]network`: when it does not match, go on at step `end`."""

    network: Network
    wanted: bool
    end: int = 1 << 30  # without an endif: the end of the table


Step = _Run | _Negated | _If


class CidrTable(SourceTable):
    type = "cidr"
    constant = True
    pattern = True

    def __init__(self, name: str) -> None:
        self._steps: list[Step] = []
        super().__init__(name)

    def get(self, key: bytes) -> bytes | None:
        self.check()
        address = parse_address(key.decode("latin-1"))
        return None if address is None else self._find(address)

    def _find(self, address: Address) -> bytes | None:
        at = 0
        while at < len(self._steps):
            step = self._steps[at]
            at += 1
            if isinstance(step, _Run):
                position = step.index.first(address)
                if position >= 0:
                    return step.values[position]
            elif isinstance(step, _If):
                if address[0] != step.network.size or step.network.contains(address) != step.wanted:
                    at = step.end
            elif address[0] == step.network.size and not step.network.contains(address):
                return step.value
        return None

    def load(self) -> None:
        builder = _Builder()
        for number, line in source_lines(self.name):
            try:
                builder.rule(line.strip(WHITESPACE))
            except SyntaxProblem as error:
                self._warn(number, f"{error}: skipping this rule")
                continue
            if builder.extra:
                self._warn(number, builder.extra)
            if builder.steps and isinstance(builder.steps[-1], _If):
                builder.lines.setdefault(len(builder.steps) - 1, number)
        for position in reversed(builder.open):
            self._warn(builder.lines[position], "IF has no matching ENDIF")
        self._steps = builder.steps

    def _warn(self, number: int, text: str) -> None:
        where = "" if self.name.startswith("{") else f" {self.name}"
        self.warnings.append(f"cidr map{where}, line {number}: {text}")


class _Builder:
    """Turns rules into steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.open: list[int] = []  # the positions of the ifs that wait for an endif
        self.lines: dict[int, int] = {}
        self.extra = ""  # a complaint about a rule that was taken all the same
        self._new_run = False  # an `if` jumps to here: the next rule must not join the run before it

    def rule(self, line: bytes) -> None:
        text = line.decode("latin-1")
        self.extra = ""
        if text[:2].lower() == "if" and not text[2:3].isalnum():
            self._begin_if(text[2:].strip())
        elif text[:5].lower() == "endif" and not text[5:6].isalnum():
            self._end_if(text[5:].strip())
        else:
            self._plain(line)

    def _plain(self, line: bytes) -> None:
        words = line.split(None, 1)
        pattern = words[0].decode("latin-1")
        if len(words) < 2:
            raise SyntaxProblem("no lookup result")
        network, wanted = _pattern(pattern)
        if not wanted:
            self.steps.append(_Negated(network, words[1]))
            return
        run = self.steps[-1] if self.steps else None
        if not isinstance(run, _Run) or self._new_run:
            run = _Run()
            self.steps.append(run)
            self._new_run = False
        run.index.add(network)
        run.values.append(words[1])

    def _begin_if(self, pattern: str) -> None:
        network, wanted = _pattern(pattern)
        self.open.append(len(self.steps))
        self.steps.append(_If(network, wanted))

    def _end_if(self, extra: str) -> None:
        if not self.open:
            raise SyntaxProblem("ENDIF without IF")
        begin = self.steps[self.open.pop()]
        assert isinstance(begin, _If)
        begin.end = len(self.steps)
        self._new_run = True
        if extra:
            self.extra = f'ignoring extra text after ENDIF: "{extra}"'


def _pattern(text: str) -> tuple[Network, bool]:
    bare = text.lstrip("!")
    return parse_network(bare), (len(text) - len(bare)) % 2 == 0
