"""hash:, btree: and lmdb: one LMDB file `name.lmdb` beside the source, compiled by postmap.

The file format is LMDB's 0.9, which Debian's postmap reads and writes; lookups are in _lmdb.pyx.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from typing import ClassVar

import lmdb

from fastrelay.tables._lmdb import LmdbFile
from fastrelay.tables.table import Table, TableError, choose_fold

SUFFIX = ".lmdb"


class LmdbTable(Table):
    type: ClassVar[str] = "lmdb"

    def __init__(self, name: str, fold: bool, utf8: bool) -> None:
        super().__init__(name)
        self.path = name + SUFFIX
        self._file = LmdbFile(self.label, os.fsencode(self.path), fold, utf8, choose_fold(fold, utf8))
        self.get = self._file.get  # type: ignore[method-assign]  # a call less in the hot path
        self.version = self._file.version  # type: ignore[method-assign]
        try:
            self._file.refresh()
        except TableError as error:
            self.problem = error.reason

    def answers(self, text: bytes, between: bytes) -> bytes | None:
        """The lines `key between value` of the keys in a text of lines, None when they must be asked one by one."""
        if not text.isascii() or b"\0" in text:
            return None
        try:
            return self._file.answers(text, between)
        except (TableError, ValueError):  # get() says the same of the key that it is about
            return None

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries, under the shared lock that Debian's postmap respects (lmdb_table(5))."""
        self._file.refresh()
        with open(self.path, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH)
            try:
                with (
                    lmdb.open(self.path, subdir=False, lock=False, readonly=True) as environment,
                    environment.begin() as transaction,
                ):
                    for key, value in transaction.cursor():
                        yield key.removesuffix(b"\0"), value.removesuffix(b"\0")
            except lmdb.Error as error:
                raise TableError(self.label, str(error)) from error


class HashTable(LmdbTable):
    type = "hash"


class BtreeTable(LmdbTable):
    type = "btree"
