"""Make and change the LMDB files of hash:, btree: and lmdb: tables. postmap, postalias and sync-table call it.

The caller holds the table's lock (publish.table_lock). Entries come sorted (_sorter.pyx), so that the tree is
filled from left to right at any size, a batch a transaction, in bounded memory; the file is read back before
it takes the table's place. Changes (postmap -i, -d) are made to a copy.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import lmdb

from fastrelay.tables._sorter import Sorter
from fastrelay.tables.publish import Discarded, Ownership, new_file, ownership_of, table_lock
from fastrelay.tables.text import printable

__all__ = [
    "BuildError",
    "Form",
    "Ownership",
    "Sorter",
    "build",
    "delete",
    "key_problem",
    "make",
    "ownership_of",
    "table_lock",
    "update",
]

Entry = tuple[bytes, bytes]

MAX_KEY = 510  # LMDB's 511 less the NUL
PAGE = 4096
BATCH = 100_000  # entries a transaction: what it changed is in memory until it ends
SPARE_ROOM = 16 << 20
LEAST_SPACE = 1 << 20  # a file system with less is full
VERIFY_AT_ONCE = 1_000_000  # entries read back through one mapping: what was read counts as memory in use


class BuildError(Exception):
    """The table could not be made; str() is what to say."""


@dataclass(frozen=True, slots=True)
class Form:
    """How entries are stored: what to do about duplicates, and what texts end in (postmap -N, -n; neither: None)."""

    duplicates: str = "warn"  # warn, ignore or replace
    wanted_end: bytes | None = None

    @property
    def end(self) -> bytes:
        """Of an LMDB table's texts."""
        return b"\0" if self.wanted_end is None else self.wanted_end


def build(
    path: str,
    sorter: Sorter,
    form: Form,
    ownership: Ownership,
    duplicate: Callable[[int, bytes], None],
    approve: Callable[[str], bool] = lambda made: True,
) -> bool:
    """Make the LMDB file at `path` of the sorter's entries; see make()."""

    def fill(made: str, entries: Iterator[Entry]) -> None:
        with _environment(made, sorter.file_room * 2) as environment:
            count = _fill(environment, entries)
        _verify(made, count)

    return make(path, sorter, form, ownership, duplicate, approve, fill)


def make(
    path: str,
    sorter: Sorter,
    form: Form,
    ownership: Ownership,
    duplicate: Callable[[int, bytes], None],
    approve: Callable[[str], bool],
    fill: Callable[[str, Iterator[Entry]], None],
) -> bool:
    """Make a file of the sorter's entries; `duplicate(line, key)` hears of keys left out.

    `fill(path of the new file, entries)` writes it and reads it back. `approve(path of the new file)` has the
    last word on whether it takes the table's place; what it said.
    """

    def hear(line: int, key: bytes) -> None:
        duplicate(line, key.removesuffix(b"\0"))

    entries = sorter.unique(form.duplicates == "replace", hear if form.duplicates == "warn" else None)
    approved = False
    with new_file(path, ownership) as made:
        fill(made, entries)
        approved = approve(made)
        if not approved:
            raise Discarded
    return approved


def _fill(environment: lmdb.Environment, entries: Iterator[Entry]) -> int:
    """Append the entries; how many there are."""
    count = 0
    while batch := list(itertools.islice(entries, BATCH)):
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            _, added = cursor.putmulti(batch, append=True)
        if added != len(batch):
            raise BuildError("the entries are not in order")
        count += added
    return count


def update(
    path: str,
    entries: Iterable[tuple[int, bytes, bytes]],
    form: Form,
    ownership: Ownership,
    duplicate: Callable[[int, bytes], None],
) -> None:
    """Add entries (line, key, value) to the table at `path` (postmap -i), which need not be there."""
    remaining = iter(entries)
    with new_file(path, ownership) as made:
        size = _copy_locked(path, made) * 2
        with _environment(made, size) as environment:
            while batch := list(itertools.islice(remaining, BATCH)):
                size += sum(len(key) + len(value) + PAGE for _, key, value in batch)
                environment.set_mapsize(map_size(size))
                with environment.begin(write=True) as transaction:
                    _put(transaction, batch, form, duplicate)
        _verify(made, None)


def _put(
    transaction: lmdb.Transaction,
    batch: list[tuple[int, bytes, bytes]],
    form: Form,
    duplicate: Callable[[int, bytes], None],
) -> None:
    end = ending(transaction, form)
    for line, key, value in batch:
        stored = transaction.put(key + end, value + end, overwrite=form.duplicates == "replace")
        if not stored and form.duplicates == "warn":
            duplicate(line, key)


def delete(path: str, keys: Iterable[bytes], ownership: Ownership) -> bool:
    """Remove keys (postmap -d). Was one of them there?"""
    if not os.path.exists(path):
        return False
    found = False
    with new_file(path, ownership) as made:
        size = _copy_locked(path, made)
        with _environment(made, size * 2) as environment, environment.begin(write=True) as transaction:
            found = any([transaction.delete(key + end) for key in keys if key for end in (b"\0", b"")])
        if not found:
            raise Discarded
        _verify(made, None)
    return found


def ending(transaction: lmdb.Transaction, form: Form) -> bytes:
    """What the texts of this table end in: as those that are there."""
    cursor = transaction.cursor()
    if cursor.first():
        return b"\0" if bytes(cursor.key()).endswith(b"\0") else b""
    return form.end


def _copy_locked(path: str, made: str) -> int:
    """Copy the table, under the lock that Debian's postmap takes (lmdb_table(5)); its size, 0: none there."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as source, open(made, "wb") as target:
        fcntl.lockf(source, fcntl.LOCK_SH)
        shutil.copyfileobj(source, target, 1 << 20)
        return target.tell()


def map_size(size: int) -> int:
    """How much of a file of `size` bytes to map, so that it can grow."""
    return (size + SPARE_ROOM) // PAGE * PAGE


@contextlib.contextmanager
def _environment(path: str, size: int) -> Iterator[lmdb.Environment]:
    environment = lmdb.open(
        path, map_size=map_size(size), subdir=False, lock=False, sync=False, max_dbs=0, meminit=True
    )
    try:
        yield environment
        environment.sync(True)
    except lmdb.Error as error:
        if disk_is_full(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
    finally:
        environment.close()


def disk_is_full(path: str) -> bool:
    """To be asked after an error: LMDB calls a write that was cut short an I/O error."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize < LEAST_SPACE


def _verify(path: str, wanted: int | None) -> None:
    """Read the file back, as its readers will: every entry, as many as were put and as it says, in order."""
    count, last, said = 0, b"", 0
    while True:
        read, last, said = _read_some(path, last)
        count += read
        if read < VERIFY_AT_ONCE:
            break
    if count != said or wanted not in (None, count):
        raise BuildError(f"the new database does not read back: {count} entries of {said}")


def _read_some(path: str, after: bytes) -> tuple[int, bytes, int]:
    """Read entries behind the key `after`: how many, the last one's key, how many the whole file says it has."""
    try:
        with (
            lmdb.open(path, subdir=False, lock=False, readonly=True) as environment,
            environment.begin() as transaction,
            transaction.cursor() as cursor,
        ):
            if after and not (cursor.set_key(after) and cursor.next()):
                return 0, after, transaction.stat()["entries"]
            count, last = 0, after
            for key, _ in itertools.islice(cursor.iternext(), VERIFY_AT_ONCE):
                if key <= last:
                    raise BuildError("the new database does not read back: its keys are not in order")
                count, last = count + 1, key
            return count, last, transaction.stat()["entries"]
    except lmdb.Error as error:
        raise BuildError(f"the new database does not read back: {error}") from error


def key_problem(key: bytes) -> str | None:
    """Why a key cannot be stored."""
    if len(key) > MAX_KEY:
        return f'key is longer than {MAX_KEY} bytes: "{printable(key[:40])}..."'
    if b"\0" in key:
        return f'key has a NUL in it: "{printable(key[:40])}"'
    return None
