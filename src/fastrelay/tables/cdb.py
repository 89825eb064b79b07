"""cdb: a constant database `name.cdb`, compiled by postmap (cdb_build.py) or by Debian's postfix-cdb.

The file: 256 pairs of (position, slots) of hash tables, the records (key length, value length, key, value),
the hash tables (hash, position of the record); all numbers 4 bytes, little-endian. It is read with pread(2),
never mapped, and every position is checked against what comes back: no file makes it crash or answer "not
found" wrongly. Keys and values end in a NUL or not (postmap -N); both are tried. A file that was replaced
is seen by the next lookup.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from fastrelay.tables.table import Fold, Table, TableError, check_value, strerror

SUFFIX = ".cdb"
HEADER = 2048
PAIR = struct.Struct("<II")
SLOTS_AT_ONCE = 32


class CorruptFile(Exception):
    """The file is cut off or no cdb file."""


def cdb_hash(key: bytes) -> int:
    value = 5381
    for c in key:
        value = ((value << 5) + value ^ c) & 0xFFFFFFFF
    return value


class CdbFile:
    """An open file; OSError, CorruptFile."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.status = os.fstat(self.fd)
        self._header = os.pread(self.fd, HEADER, 0)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def get(self, key: bytes) -> bytes | None:
        """The value of the first record with this key."""
        hashed = cdb_hash(key)
        table, slots = self.table(hashed & 255)
        at = (hashed >> 8) % slots if slots else 0
        left = slots
        while left:
            count = min(left, slots - at, SLOTS_AT_ONCE)
            for found, record in PAIR.iter_unpack(self._read(table + 8 * at, 8 * count)):
                if record == 0:
                    return None
                if found == hashed and (value := self._value(record, key)) is not None:
                    return value
            left -= count
            at = (at + count) % slots
        return None

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """All records, in the file's order."""
        at, end = HEADER, min(self.table(number)[0] for number in range(256))
        while at < end:
            key_size, value_size = PAIR.unpack(self._read(at, 8))
            record = self._read(at + 8, key_size + value_size)
            yield record[:key_size], record[key_size:]
            at += 8 + len(record)

    def table(self, number: int) -> tuple[int, int]:
        """Position and slots of a hash table."""
        if len(self._header) < HEADER:
            raise CorruptFile
        position, slots = PAIR.unpack_from(self._header, 8 * number)
        if position < HEADER or position + 8 * slots > self.status.st_size:
            raise CorruptFile
        return position, slots

    def _value(self, at: int, key: bytes) -> bytes | None:
        """The value of the record at this position, None when its key is another."""
        key_size, value_size = PAIR.unpack(self._read(at, 8))
        if at + 8 + key_size + value_size > self.status.st_size:
            raise CorruptFile
        if key_size != len(key) or self._read(at + 8, key_size) != key:
            return None
        return self._read(at + 8 + key_size, value_size)

    def _read(self, at: int, size: int) -> bytes:
        if at + size > self.status.st_size:  # also keeps a wrong length from asking for gigabytes
            raise CorruptFile
        data = os.pread(self.fd, size, at)
        if len(data) != size:
            raise CorruptFile
        return data


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

    @property
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
            now = os.stat(self.path)
            if self._file is None or _differs(now, self._file.status):
                self._file = None
                opened = CdbFile(self.path)
                opened.table(0)
                self._file = opened
                self._generation += 1
            return self._file
        except OSError as error:
            raise TableError(self.label, f"open database {self.path}: {strerror(error)}") from error
        except CorruptFile as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> TableError:
        why = strerror(error) if isinstance(error, OSError) else "truncated or not a cdb file"
        return TableError(self.label, f"error reading {self.path}: {why}")


def _differs(now: os.stat_result, then: os.stat_result) -> bool:
    return (now.st_ctime_ns, now.st_size, now.st_ino, now.st_dev) != (
        then.st_ctime_ns,
        then.st_size,
        then.st_ino,
        then.st_dev,
    )
