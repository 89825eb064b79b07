"""Make the files of cdb: tables, as Debian's postfix-cdb reads them (cdb.py says what is in them).

postmap and postalias call build_cdb() instead of build.build(), with the same arguments. A cdb file is only
ever made whole: there is no postmap -i or -d. It is read back before it takes the table's place.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from fastrelay.tables._cdb import HEADER, CdbFile, CorruptFile, cdb_hash
from fastrelay.tables._sorter import Sorter
from fastrelay.tables.build import BuildError, Entry, Form, make
from fastrelay.tables.publish import Ownership

PAIR = struct.Struct("<II")
LARGEST = 0xFFFFFFFF  # positions have four bytes
WRITE_AT_ONCE = 1 << 20


def build_cdb(
    path: str,
    sorter: Sorter,
    form: Form,
    ownership: Ownership,
    duplicate: Callable[[int, bytes], None],
    approve: Callable[[str], bool] = lambda made: True,
) -> bool:
    """Make the file of the sorter's entries; see build.make()."""

    def fill(made: str, entries: Iterator[Entry]) -> None:
        with open(made, "wb", WRITE_AT_ONCE) as file:
            count = _write(file, entries)
        _verify(made, count)

    return make(path, sorter, form, ownership, duplicate, approve, fill)


def _write(file: BinaryIO, entries: Iterable[Entry]) -> int:
    """Write records and hash tables; how many records."""
    tables = [array("Q") for _ in range(256)]  # hash and position of each record, by the hash's last byte
    position = HEADER
    file.write(bytes(HEADER))
    for key, value in entries:
        hashed = cdb_hash(key)
        tables[hashed & 255].append(hashed << 32 | position)
        file.write(PAIR.pack(len(key), len(value)) + key + value)
        position += 8 + len(key) + len(value)
        if position > LARGEST:
            raise BuildError("a cdb file cannot be larger than 4 GB")
    header = bytearray()
    for table in tables:
        header += PAIR.pack(position, 2 * len(table))
        file.write(_slots(table))
        position += 16 * len(table)
    if position > LARGEST:
        raise BuildError("a cdb file cannot be larger than 4 GB")
    file.seek(0)
    file.write(header)
    return sum(map(len, tables))


def _slots(table: array[int]) -> bytes:
    """A hash table, half full; who finds a slot taken goes on to the next free one."""
    count = 2 * len(table)
    slots = array("Q", bytes(8 * count))
    for entry in table:
        at = (entry >> 40) % count
        while slots[at]:
            at = (at + 1) % count
        slots[at] = entry
    return b"".join([PAIR.pack(entry >> 32, entry & LARGEST) for entry in slots])


def _verify(path: str, count: int) -> None:
    """Read the file back, as its readers will."""
    try:
        file = CdbFile(os.fsencode(path))
        found = sum(1 for key, value in file.entries() if file.get(key) == value)
    except CorruptFile as error:
        raise BuildError("the new database does not read back") from error
    if found != count:
        raise BuildError(f"the new database does not read back: {found} entries of {count}")
