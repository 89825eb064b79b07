"""Match lists: mynetworks, relay_domains, mydestination and the like (match_list(3) of Postfix 3.7).

A list is tried from left to right and the first pattern that matches decides; `!` before it makes that a
no. `/file` stands for the patterns in the file, `type:name` is looked up. A table that cannot answer, a
file that cannot be read and a wrong pattern are a TableError when the search comes to them.
Neighbouring plain patterns of one sign are merged into one set, so a list costs one probe a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastrelay.tables.netblock import NetworkIndex, parse_address, parse_network
from fastrelay.tables.registry import open_table
from fastrelay.tables.table import Table, TableError, fold_utf8, strerror
from fastrelay.tables.text import SyntaxProblem, split_list

Opener = Callable[[str], Table]
CACHED_ADDRESSES = 4096

_ADDRESS_CHARACTERS = frozenset("0123456789.abcdefABCDEF:")
_PATTERN_CHARACTERS = _ADDRESS_CHARACTERS | frozenset("[]/")


@dataclass(frozen=True, slots=True)
class Item:
    """One pattern: `wanted` is False behind a `!`; `table` for a type:name, `problem` when it is wrong."""

    text: str
    wanted: bool
    table: Table | None = None
    problem: TableError | None = None


def read_items(
    specs: str | Sequence[str], opener: Opener, wanted: bool = True, depth: int = 0
) -> Iterator[Item]:
    """The patterns of a list, files expanded in place."""
    for word in split_list(specs) if isinstance(specs, str) else specs:
        text = word.lstrip("!")
        sign = wanted if (len(word) - len(text)) % 2 == 0 else not wanted
        if not text:
            yield Item(word, sign, problem=TableError(word, "no pattern after '!'"))
        elif text.startswith("/"):
            yield from _read_file(text, opener, sign, depth)
        elif ":" in text and not text.startswith("["):
            yield Item(text, sign, opener(text))
        else:
            yield Item(text, sign)


def _read_file(path: str, opener: Opener, wanted: bool, depth: int) -> Iterator[Item]:
    if depth > 10:
        yield Item(path, wanted, problem=TableError(path, "files are nested too deeply"))
        return
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line for line in file if not line.startswith("#")]
    except OSError as error:
        yield Item(path, wanted, problem=TableError(path, f"open file {path}: {strerror(error)}"))
        return
    yield from read_items(" ".join(lines), opener, wanted, depth + 1)


class Step(Protocol):
    """A part of a list; `wanted` is the answer when it matches."""

    wanted: bool

    def matches(self, subject: bytes) -> bool: ...


@dataclass(slots=True)
class _Names:
    """Names in lower case. `parents`: "x.com" matches below it too; otherwise ".x.com" does, if `dotted`."""

    wanted: bool
    parents: bool
    dotted: bool
    names: set[bytes]

    def matches(self, subject: bytes) -> bool:
        if subject in self.names:
            return True
        if not self.parents and not self.dotted:
            return False
        at = subject.find(b".", 1)
        while at >= 0:
            if subject[at + self.parents :] in self.names:
                return True
            at = subject.find(b".", at + 1)
        return False


@dataclass(slots=True)
class _NameTable:
    """A table of names, asked for the parents as well when `dotted` (patterns see whole names only)."""

    wanted: bool
    parents: bool
    dotted: bool
    table: Table

    def matches(self, subject: bytes) -> bool:
        at = 0
        while at >= 0:
            if self.table.get(subject[at:]) is not None:
                return True
            if not self.dotted or self.table.pattern:
                return False
            at = subject.find(b".", at + 1)
            at += self.parents and at >= 0
        return False


@dataclass(slots=True)
class _Networks:
    """Networks and addresses."""

    wanted: bool
    index: NetworkIndex

    def matches(self, subject: bytes) -> bool:
        address = parse_address(subject.decode("latin-1"))
        return address is not None and self.index.first(address) >= 0


@dataclass(slots=True)
class _AddressTable:
    wanted: bool
    table: Table

    def matches(self, subject: bytes) -> bool:
        return self.table.get(subject) is not None


@dataclass(slots=True)
class _Problem:
    """A pattern that is wrong: whoever gets here has no answer."""

    wanted: bool
    error: TableError

    def matches(self, subject: bytes) -> bool:
        """A new error each time: one that is raised often would gather its tracebacks."""
        raise TableError(self.error.label, self.error.reason, self.error.unavailable)


def _search(steps: list[Step], subject: bytes) -> bool:
    for step in steps:
        if step.matches(subject):
            return step.wanted
    return False


def _problems(steps: Iterable[Step]) -> list[str]:
    return [str(step.error) for step in steps if isinstance(step, _Problem)]


class _NameMatcher:
    """What StringMatcher and DomainMatcher share."""

    def __init__(self, specs: str | Sequence[str], opener: Opener, parents: bool, dotted: bool) -> None:
        self._steps: list[Step] = []
        items = list(read_items(specs, opener))
        self.tables = [item.table for item in items if item.table is not None]
        for item in items:
            self._add(item, parents, dotted)

    def __bool__(self) -> bool:
        return bool(self._steps)

    @property
    def problems(self) -> list[str]:
        """What is wrong with its patterns: whoever comes to one has no answer."""
        return _problems(self._steps)

    def _add(self, item: Item, parents: bool, dotted: bool) -> None:
        if item.problem is not None:
            self._steps.append(_Problem(item.wanted, item.problem))
        elif item.table is not None:
            self._steps.append(_NameTable(item.wanted, parents, dotted, item.table))
        else:
            last = self._steps[-1] if self._steps else None
            if not isinstance(last, _Names) or last.wanted != item.wanted:
                last = _Names(item.wanted, parents, dotted, set())
                self._steps.append(last)
            name = item.text.encode(errors="surrogateescape")
            last.names.add(fold_utf8(name) or name)

    def matches(self, subject: bytes) -> bool:
        """Is `subject` in the list? Upper and lower case are the same."""
        return _search(self._steps, fold_utf8(subject) or subject.lower())


class StringMatcher(_NameMatcher):
    """Whole strings: mydestination, virtual_alias_domains (string_list(3))."""

    def __init__(self, specs: str | Sequence[str], opener: Opener = open_table) -> None:
        super().__init__(specs, opener, parents=False, dotted=False)


class DomainMatcher(_NameMatcher):
    """Domains and what is below them: relay_domains (domain_list(3)).

    `parent_matches`: "x.com" covers its sub-domains; otherwise a pattern ".x.com" does.
    """

    def __init__(self, specs: str | Sequence[str], parent_matches: bool, opener: Opener = open_table) -> None:
        super().__init__(specs, opener, parents=parent_matches, dotted=True)


class AddressMatcher:
    """Client addresses and, as Postfix has it, their names: mynetworks (namadr_list(3)).

    Answers are kept for the last few thousand addresses while no table is in the list.
    """

    def __init__(
        self, specs: str | Sequence[str], opener: Opener = open_table, parent_matches: bool = False
    ) -> None:
        self._pairs: list[tuple[Step, Step | None]] = []  # (by address, by name)
        items = list(read_items(specs, opener))
        self.tables = [item.table for item in items if item.table is not None]
        for item in items:
            self._add(item, parent_matches)
        self._cacheable = all(table.constant for table in self.tables)
        self._cache: dict[tuple[bytes, bytes], bool] = {}

    def __bool__(self) -> bool:
        return bool(self._pairs)

    @property
    def problems(self) -> list[str]:
        """What is wrong with its patterns: whoever comes to one has no answer."""
        return _problems(by_address for by_address, _ in self._pairs)

    def matches(self, address: bytes | str, name: bytes = b"") -> bool:
        """Is the address in the list, or the client's verified name when one is given?"""
        if isinstance(address, str):
            address = address.encode()
        key = (address, name)
        found = self._cache.get(key)
        if found is None:
            found = self._search(address, fold_utf8(name) or name.lower())
            if self._cacheable:
                if len(self._cache) >= CACHED_ADDRESSES:
                    self._cache.clear()
                self._cache[key] = found
        return found

    def _search(self, address: bytes, name: bytes) -> bool:
        for by_address, by_name in self._pairs:
            if name and by_name is not None and by_name.matches(name):
                return by_name.wanted
            if by_address.matches(address):
                return by_address.wanted
        return False

    def _add(self, item: Item, parents: bool) -> None:
        if item.problem is not None:
            self._pairs.append((_Problem(item.wanted, item.problem), None))
        elif item.table is not None:
            by_name = _NameTable(item.wanted, parents, True, item.table)
            self._pairs.append((_AddressTable(item.wanted, item.table), by_name))
        else:
            self._add_pattern(item, parents)

    def _add_pattern(self, item: Item, parents: bool) -> None:
        networks, names = self._last(item.wanted, parents)
        name = item.text.encode(errors="surrogateescape")
        names.names.add(fold_utf8(name) or name)
        if not set(item.text) <= _PATTERN_CHARACTERS or not any(c in ".:/" for c in item.text):
            return  # a host name: no address looks like it
        try:
            networks.index.add(parse_network(item.text))
        except SyntaxProblem as error:
            if "/" in item.text or item.text.startswith("["):
                self._pairs.append((_Problem(item.wanted, TableError(item.text, str(error))), None))

    def _last(self, wanted: bool, parents: bool) -> tuple[_Networks, _Names]:
        """The run of plain patterns that the list ends with, a new one when it does not."""
        if self._pairs:
            networks, names = self._pairs[-1]
            if isinstance(networks, _Networks) and isinstance(names, _Names) and networks.wanted == wanted:
                return networks, names
        networks, names = _Networks(wanted, NetworkIndex()), _Names(wanted, parents, True, set())
        self._pairs.append((networks, names))
        return networks, names
