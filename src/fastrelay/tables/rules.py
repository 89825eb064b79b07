"""What regexp: and pcre: have in common: rules with `if`, `endif` and `!`, tried in order; the first one answers.

Each type gives its flags, its library's compile() and its wordings. A table of many rules has a prefilter
(tables/prefilter.py) that names the few rules whose texts are in the key: the others cannot match, so the
answer is that of the plain loop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fastrelay.tables.known import Known
from fastrelay.tables.prefilter import Prefilter, build_prefilter
from fastrelay.tables.substitution import Template, expand, highest, parse_template
from fastrelay.tables.table import SourceTable, check_value, is_utf8
from fastrelay.tables.text import WHITESPACE, SyntaxProblem, printable, source_lines

SKIPPING = ": skipping this rule"


class Compiled(Protocol):
    """A pattern of either library."""

    @property
    def group_count(self) -> int: ...
    def matches(self, subject: bytes, /) -> bool: ...
    def groups(self, subject: bytes, highest: int, /) -> list[bytes] | None: ...


@dataclass(slots=True)
class Text:
    """A pattern as written, before it is compiled; `wanted` is False behind a `!`."""

    regex: bytes
    flags: int
    wanted: bool
    line: int


@dataclass(slots=True)
class Condition:
    """A pattern that is to match, or not to."""

    pattern: Compiled
    wanted: bool
    known: Known | None  # what a match contains, as far as one can tell

    def holds(self, key: bytes) -> bool:
        return self.pattern.matches(key) == self.wanted

    def groups(self, key: bytes, highest: int) -> list[bytes] | None:
        return self.pattern.groups(key, highest)


@dataclass(slots=True)
class If:
    """When the condition does not hold, go on at step `end`. `guard`: the `if` that this one is in."""

    condition: Condition
    line: int
    position: int
    guard: If | None
    end: int = 1 << 30  # without an endif: the end of the table

    def holds(self, key: bytes, held: dict[int, bool]) -> bool:
        """It and those around it; `held` remembers, for one lookup, which did."""
        known = held.get(self.position)
        if known is None:
            known = (self.guard is None or self.guard.holds(key, held)) and self.condition.holds(key)
            held[self.position] = known
        return known


@dataclass(slots=True)
class Rule:
    """`/first/!/second/ template`; with `groups` the answer needs what the first one matched."""

    first: Condition
    second: Condition | None
    template: Template
    groups: int
    constant: bytes | None  # the answer, when nothing is to be put into it
    guard: If | None

    def answer(self, key: bytes) -> bytes | None:
        if self.constant is not None:
            if not self.first.holds(key) or (self.second is not None and not self.second.holds(key)):
                return None
            return self.constant
        groups = self.first.groups(key, self.groups)
        if groups is None or (self.second is not None and not self.second.holds(key)):
            return None
        return expand(self.template, groups)


class RuleTable(SourceTable):
    """A table of such rules."""

    constant = True
    pattern = True
    options: ClassVar[dict[int, int]]  # flag letter -> the library's flag, toggled
    default_flags: ClassVar[int]
    obsolete_options: ClassVar[bytes] = b""
    second_pattern: ClassVar[bool] = False  # `/one/!/two/` is a rule
    unclosed: ClassVar[str] = SKIPPING

    def __init__(self, name: str, utf8: bool) -> None:
        self._steps: list[Rule | If] = []
        self._prefilter: Prefilter | None = None
        self._utf8 = utf8  # only such keys are in the table; header and body checks say no
        super().__init__(name)

    @abstractmethod
    def compile(self, text: Text, groups: bool) -> Condition:
        """Compile a pattern; `groups`: its groups will be asked for. SyntaxProblem: it is none."""

    def get(self, key: bytes) -> bytes | None:
        self.check()
        if self._utf8 and not is_utf8(key):
            return None
        if b"\0" in key:  # a C string to both libraries
            key = key.partition(b"\0")[0]
        found = self._loop(key) if self._prefilter is None else self._among(key, self._prefilter.rules(key))
        if found is None or not self._utf8:
            return found
        return check_value(self.label, key, found)

    def _loop(self, key: bytes) -> bytes | None:
        """The answer, every rule tried."""
        at = 0
        steps = self._steps
        while at < len(steps):
            step = steps[at]
            at += 1
            if isinstance(step, If):
                if not step.condition.holds(key):
                    at = step.end
            else:
                found = step.answer(key)
                if found is not None:
                    return found
        return None

    def _among(self, key: bytes, positions: Sequence[int]) -> bytes | None:
        """The answer, when none but the rules at `positions` can give one."""
        held: dict[int, bool] = {}
        skip = 0
        for position in positions:
            if position < skip:
                continue
            rule = self._steps[position]
            assert isinstance(rule, Rule)
            if rule.guard is not None and not rule.guard.holds(key, held):
                skip = rule.guard.end
                continue
            found = rule.answer(key)
            if found is not None:
                return found
        return None

    def load(self) -> None:
        reader = _Reader(self)
        for number, line in source_lines(self.name, self.warnings.append):
            reader.line(number, line.strip(WHITESPACE))
        for begin in reversed(reader.waiting):
            self.warn(begin.line, "IF has no matching ENDIF")
        self._steps = reader.steps
        self._prefilter = build_prefilter(
            {
                position: step.first.known if step.first.wanted else None
                for position, step in enumerate(reader.steps)
                if isinstance(step, Rule)
            }
        )

    def warn(self, number: int, text: str) -> None:
        self.warnings.append(f"{self.type} map {self.name}, line {number}: {text}")


class _Reader:
    """Turns lines into steps."""

    def __init__(self, table: RuleTable) -> None:
        self.steps: list[Rule | If] = []
        self.waiting: list[If] = []  # ifs without their endif
        self._table = table

    def line(self, number: int, line: bytes) -> None:
        if b"\0" in line:  # Postfix's texts end there
            self._table.warn(number, "ignoring what follows a NUL")
            line = line.partition(b"\0")[0]
        try:
            self._statement(line, number)
        except SyntaxProblem as error:
            self._table.warn(number, str(error))

    def _statement(self, line: bytes, number: int) -> None:
        if not line[:1].isalnum():
            self.steps.append(self._rule(line, number))
        elif line[:2].lower() == b"if" and not line[2:3].isalnum():
            begin = self._if(line[2:].lstrip(WHITESPACE), number)
            self.steps.append(begin)
            self.waiting.append(begin)
        elif line[:5].lower() == b"endif" and not line[5:6].isalnum():
            if not self.waiting:
                raise SyntaxProblem("ignoring ENDIF without matching IF")
            self.waiting.pop().end = len(self.steps)
            if line[5:].strip(WHITESPACE):
                self._table.warn(number, "ignoring extra text after ENDIF")
        else:
            raise SyntaxProblem("ignoring unrecognized request")

    def _guard(self) -> If | None:
        return self.waiting[-1] if self.waiting else None

    def _if(self, text: bytes, number: int) -> If:
        pattern, rest = self._pattern(text, number)
        rest = rest.strip(WHITESPACE)
        if rest:
            self._table.warn(number, f'ignoring extra text after IF statement: "{printable(rest)}"')
            self._table.warn(number, "do not prepend whitespace to statements between IF and ENDIF")
        return If(self._table.compile(pattern, False), number, len(self.steps), self._guard())

    def _rule(self, line: bytes, number: int) -> Rule:
        first, rest = self._pattern(line, number)
        second = None
        if rest.startswith(b"!"):
            second, rest = self._pattern(rest, number)
        text = rest.strip(WHITESPACE)
        if not text:
            self._table.warn(number, "no replacement text: using empty string")
        try:
            template = parse_template(text)
        except SyntaxProblem as error:
            self._table.warn(number, str(error))
            raise SyntaxProblem(f"bad replacement syntax{SKIPPING}") from error
        groups = highest(template)
        if groups and not first.wanted:
            raise SyntaxProblem(f"$number found in negative match replacement text{SKIPPING}")
        compiled = self._table.compile(first, groups > 0)
        if groups > compiled.pattern.group_count:
            raise SyntaxProblem(f'out of range replacement index "{groups}"{SKIPPING}')
        constant = None if groups else expand(template, [])
        other = self._table.compile(second, False) if second else None
        return Rule(compiled, other, template, groups, constant, self._guard())

    def _pattern(self, line: bytes, number: int) -> tuple[Text, bytes]:
        """The pattern that `line` begins with, and what follows it."""
        table = self._table
        bare = line.lstrip(b"!" + WHITESPACE)
        wanted = line[: len(line) - len(bare)].count(b"!") % 2 == 0
        if not bare:
            raise SyntaxProblem(f"no regexp{SKIPPING}")
        end = _closing(bare)
        if end == 0:
            raise SyntaxProblem(f'no closing regexp delimiter "{printable(bare[:1])}"{table.unclosed}')
        flags = table.default_flags
        at = end + 1
        while at < len(bare) and bare[at] not in WHITESPACE:
            if bare[at] in table.obsolete_options:
                table.warn(number, f'ignoring obsolete regexp option "{chr(bare[at])}"')
            elif bare[at] in table.options:
                flags ^= table.options[bare[at]]
            elif bare[at] == 0x21 and table.second_pattern:
                break
            else:
                raise SyntaxProblem(f'unknown regexp option "{printable(bare[at : at + 1])}"{SKIPPING}')
            at += 1
        return Text(bare[1:end], flags, wanted, number), bare[at:]


def _closing(text: bytes) -> int:
    """Where the delimiter that `text` begins with comes again, not behind a backslash; 0: nowhere."""
    at = 1
    while at < len(text):
        if text[at] == 0x5C:
            at += 2
        elif text[at] == text[0]:
            return at
        else:
            at += 1
    return 0
