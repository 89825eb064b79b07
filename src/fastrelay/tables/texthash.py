"""texthash: a postmap(1) source file read into memory, without compiling it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import SourceTable

if TYPE_CHECKING:
    from fastrelay.tables.table import Fold


class TextHashTable(SourceTable):
    type = "texthash"
    constant = True
    open_verb = "open database"
    read_problem = "read {}"

    def __init__(self, name: str, fold: Fold, utf8: bool) -> None:
        self._fold = fold
        self._utf8 = utf8
        self._entries: dict[bytes, bytes] = {}
        super().__init__(name)

    def get(self, key: bytes) -> bytes | None:
        self.check()
        folded = self._fold(key)
        return None if folded is None else self._entries.get(folded)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        self.check()
        return iter(self._entries.items())

    def load(self) -> None:
        entries: dict[bytes, bytes] = {}
        with open(self.name, "rb") as file:
            for number, key, value in read_entries(
                file, Entries(self.name, self._utf8, self.warnings.append)
            ):
                folded = self._fold(key)
                if folded is None:
                    continue
                if folded in entries:
                    self.warnings.append(
                        f'{self.name}, line {number}: duplicate entry: "{key.decode(errors="replace")}"'
                    )
                else:
                    entries[folded] = value
        self._entries = entries
