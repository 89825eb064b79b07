"""cdb: a constant database `name.cdb`, compiled by postmap (cdb_build.py) or by Debian's postfix-cdb.

The file: 256 pairs of (position, slots) of hash tables, the records (key length, value length, key, value),
the hash tables (hash, position of the record); all numbers 4 bytes, little-endian. _cdb.pyx reads it. Keys and
values end in a NUL or not (postmap -N); both are tried. A file that was replaced is seen by the next lookup.
"""

from __future__ import annotations

import os

from fastrelay.tables._cdb import CdbFile, CorruptFile
from fastrelay.tables.table import Fold, Table, TableError, check_value, strerror

SUFFIX = ".cdb"


class CdbTable(Table):
    type = "cdb"

    def __init__(self, name: str, fold: Fold, utf8: bool) -> None:
        super().__init__(name)
        self.path = name + SUFFIX
        self._fold = fold
        self._utf8 = utf8
        self._file: CdbFile | None = None
        self._ends = (b"", b"\0")  # what keys end in: that of the last hit first
        self._generation = 0
        try:
            self._current()
        except TableError as error:
            self.problem = error.reason

    def get(self, key: bytes) -> bytes | None:
        folded = self._fold(key)
        file = self._current()
        if not folded or b"\0" in folded:
            return None
        try:
            value = self._find(file, folded)
        except (CorruptFile, OSError) as error:
            raise self._unreadable(error) from error
        if value is None:
            return None
        value = value.partition(b"\0")[0]
        return check_value(self.label, key, value) if self._utf8 else value

    def version(self) -> int:
        """How often the file was opened: one that was replaced or appeared counts when it is seen."""
        try:
            self._current()
        except TableError:
            return -1 - self._generation
        return self._generation

    def _find(self, file: CdbFile, key: bytes) -> bytes | None:
        for end in self._ends:
            if (value := file.get(key + end)) is not None:
                if end != self._ends[0]:
                    self._ends = self._ends[::-1]
                return value
        return None

    def _current(self) -> CdbFile:
        """The open file, opened anew when it is not what is at the path."""
        try:
            if self._file is None or not self._file.is_current():
                self._file = None
                self._file = CdbFile(os.fsencode(self.path))
                self._generation += 1
            return self._file
        except OSError as error:
            raise TableError(self.label, f"open database {self.path}: {strerror(error)}") from error
        except CorruptFile as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> TableError:
        why = strerror(error) if isinstance(error, OSError) else "truncated or not a cdb file"
        return TableError(self.label, f"error reading {self.path}: {why}")
