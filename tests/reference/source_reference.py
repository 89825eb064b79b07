"""The slow obvious twin of tables/_sorter.pyx and tables/_source.pyx: read lines one by one, sort tuples."""

import io

from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import choose_fold

Entry = tuple[bytes, int, bytes]


def entries(text: bytes, fold: bool = True, utf8: bool = True) -> list[Entry]:
    """(key, line, value) of a whole source, as the plain reader sees it."""
    folded = choose_fold(fold, utf8)
    read = read_entries(io.BytesIO(text), Entries("t", utf8, lambda said: None))
    found = [(folded(key), line, value) for line, key, value in read]
    return [(key, line, value) for key, line, value in found if key is not None and len(key) <= 510]


def unique(added: list[Entry], replace: bool) -> tuple[list[tuple[bytes, bytes]], list[tuple[int, bytes]]]:
    """The entries that a table has, sorted, and (line, key) of those left out as duplicates."""
    chosen: dict[bytes, bytes] = {}
    duplicates: list[tuple[int, bytes]] = []
    for key, line, value in sorted(added, key=lambda entry: entry[:2]):
        if key in chosen:
            duplicates.append((line, key))
        if replace or key not in chosen:
            chosen[key] = value
    return sorted(chosen.items()), [] if replace else duplicates
