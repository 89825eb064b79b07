"""internal:name: a table in the memory of one process, empty when it is opened and gone when the process ends.

For caches whose parameter wants a table (verify, postscreen); whoever opened it fills it with put().
"""

from __future__ import annotations

from collections.abc import Iterator

from fastrelay.tables.table import Fold, Table


class InternalTable(Table):
    type = "internal"

    def __init__(self, name: str, fold: Fold) -> None:
        super().__init__(name)
        self._fold = fold
        self._entries: dict[bytes, bytes] = {}
        self._changes = 0

    def get(self, key: bytes) -> bytes | None:
        folded = self._fold(key)
        return None if folded is None else self._entries.get(folded)

    def put(self, key: bytes, value: bytes) -> None:
        """A key that no table can have (not UTF-8) is left out."""
        folded = self._fold(key)
        if folded is not None:
            self._entries[folded] = value
            self._changes += 1

    def delete(self, key: bytes) -> bool:
        """Was it there?"""
        folded = self._fold(key)
        self._changes += 1
        return folded is not None and self._entries.pop(folded, None) is not None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self._entries.items()))

    def version(self) -> int:
        return self._changes
