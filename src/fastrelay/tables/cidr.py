"""cidr: networks and what to answer for addresses in them, cidr_table(5). The first rule that matches wins.

The rules are turned into ranges of addresses when the table is read: a network less what the `if`s around it
shut out is a few ranges. One sweep over all ends of ranges finds which rule wins in each stretch between two
of them, so a lookup is one binary search, whatever the number of rules, `if`s and `!`s.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right

from fastrelay.tables.netblock import Network, parse_network, parse_packed
from fastrelay.tables.table import SourceTable, check_value, is_utf8
from fastrelay.tables.text import WHITESPACE, SyntaxProblem, source_lines

Range = tuple[int, int]  # first and last address
Region = list[Range]  # in order, apart
Regions = dict[int, Region]  # by the length of addresses, 4 or 16 bytes

EVERYWHERE: Regions = {4: [(0, (1 << 32) - 1)], 16: [(0, (1 << 128) - 1)]}


class CidrTable(SourceTable):
    type = "cidr"
    constant = True
    pattern = True
    read_problem = "cidr map {}: read error"

    def __init__(self, name: str, utf8: bool) -> None:
        self._utf8 = utf8
        self._doubtful = False  # is there a value that is not UTF-8?
        self._starts: dict[int, list[bytes]] = {}  # where each stretch begins, the first one at 0
        self._values: dict[int, list[bytes | None]] = {}
        super().__init__(name)

    def get(self, key: bytes) -> bytes | None:
        self.check()
        address = parse_packed(key.decode("latin-1"))
        if address is None:
            return None
        size = len(address)
        value = self._values[size][bisect_right(self._starts[size], address) - 1]
        if value is not None and self._doubtful:
            return check_value(self.label, key, value)
        return value

    def load(self) -> None:
        reader = _Reader()
        for number, line in source_lines(self.name, self.warnings.append):
            text, nul, _ = line.strip(WHITESPACE).partition(b"\0")
            if nul:  # Postfix's texts end there
                self._warn(number, "ignoring what follows a NUL")
            try:
                reader.rule(text, number)
            except SyntaxProblem as error:
                self._warn(number, f"{error}: skipping this rule")
        for line_number in reversed(reader.open):
            self._warn(line_number, "IF has no matching ENDIF")
        self._doubtful = self._utf8 and not all(map(is_utf8, reader.values))
        for size, ranges in reader.ranges.items():
            stretches = [stretch for stretch in _first_wins(ranges) if stretch[0] >> 8 * size == 0]
            self._starts[size] = [start.to_bytes(size, "big") for start, _ in stretches]
            self._values[size] = [reader.values[rule] if rule >= 0 else None for _, rule in stretches]

    def _warn(self, number: int, text: str) -> None:
        where = "" if self.name.startswith("{") else f" {self.name}"
        self.warnings.append(f"cidr map{where}, line {number}: {text}")


class _Reader:
    """Turns rules into ranges. `open`: the lines of the ifs that wait for an endif."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.ranges: dict[int, list[tuple[int, int, int]]] = {4: [], 16: []}  # (first, rule, last)
        self.open: list[int] = []
        self._scopes: list[Regions] = [EVERYWHERE]  # where rules hold: outside, in each open if

    def rule(self, line: bytes, number: int) -> None:
        if line[:2].lower() == b"if" and not line[2:3].isalnum():
            bare, wanted = _without_signs(line[2:])
            self._scopes.append(self._where(bare.strip(), wanted))
            self.open.append(number)
        elif line[:5].lower() == b"endif" and not line[5:6].isalnum():
            self._end_if(line[5:].strip())
        else:
            self._plain(line)

    def _plain(self, line: bytes) -> None:
        bare, wanted = _without_signs(line)
        words = bare.split(None, 1) or [b""]
        where = self._where(words[0], wanted)
        if len(words) < 2:
            raise SyntaxProblem("no lookup result")
        for size, region in where.items():
            self.ranges[size] += [(first, len(self.values), last) for first, last in region]
        self.values.append(words[1])

    def _end_if(self, extra: bytes) -> None:
        if extra:  # it then ends nothing
            raise SyntaxProblem("garbage after ENDIF")
        if not self.open:
            raise SyntaxProblem("ENDIF without IF")
        self.open.pop()
        self._scopes.pop()

    def _where(self, pattern: bytes, wanted: bool) -> Regions:
        """Where a network holds, or does not, within the ifs around it; the other family is never meant."""
        network = parse_network(pattern.decode("latin-1"))
        inside = _range_of(network)
        scope = self._scopes[-1].get(network.size, [])
        if wanted:
            return {network.size: _cut(scope, inside)}
        before, after = (0, inside[0] - 1), (inside[1] + 1, EVERYWHERE[network.size][0][1])
        return {network.size: _cut(scope, before) + _cut(scope, after)}


def _without_signs(text: bytes) -> tuple[bytes, bool]:
    """What is behind the `!`s and blanks that `text` begins with, and whether it is to match."""
    bare = text.lstrip(b"!" + WHITESPACE)
    return bare, text[: len(text) - len(bare)].count(b"!") % 2 == 0


def _range_of(network: Network) -> Range:
    first = network.number << network.shift
    return first, first + (1 << network.shift) - 1


def _cut(region: Region, wanted: Range) -> Region:
    """The part of the region that is in a range (an empty one ends before it begins)."""
    first, last = wanted
    found: Region = []
    at = max(bisect_left(region, (first, first)) - 1, 0)
    while at < len(region) and region[at][0] <= last:
        low, high = max(region[at][0], first), min(region[at][1], last)
        if low <= high:
            found.append((low, high))
        at += 1
    return found


def _first_wins(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """(where it begins, rule) of each stretch, -1 where no rule holds: of those that hold, the first one."""
    ranges.sort()
    points = sorted({0, *(first for first, _, _ in ranges), *(last + 1 for _, _, last in ranges)})
    stretches: list[tuple[int, int]] = []
    holding: list[tuple[int, int]] = []  # heap of (rule, last)
    following = 0
    for point in points:
        while following < len(ranges) and ranges[following][0] == point:
            _, rule, last = ranges[following]
            heapq.heappush(holding, (rule, last))
            following += 1
        while holding and holding[0][1] < point:
            heapq.heappop(holding)
        winner = holding[0][0] if holding else -1
        if not stretches or stretches[-1][1] != winner:
            stretches.append((point, winner))
    return stretches
