"""Make and change the LMDB files of hash:, btree: and lmdb: tables. postmap and postalias call it.

A file is written beside the table, synced, read back, renamed over it, and the directory synced: readers
have the old table or the new one, whole. Entries are sorted in runs that fit in memory, so that the tree
is filled from left to right at any size. Changes (postmap -i, -d) are made to a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import marshal
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import lmdb

from fastrelay.tables.text import printable

RUN_BYTES = 96 << 20  # sort this much in memory (counting Python's own share of it), then spill
BLOCK = 2000  # entries that a spilled run is written and read by
ENTRY_OVERHEAD = 250  # bytes of Python objects around a key, a value and a line number
MAX_KEY = 510  # LMDB's 511 less the NUL
PAGE = 4096

Entry = tuple[bytes, int, bytes]  # key as stored, line, value as stored


class BuildError(Exception):
    """The table could not be made; str() is what to say."""


@dataclass(frozen=True, slots=True)
class Form:
    """How entries are stored: what to do about duplicates, and what texts end in (postmap -N, -n)."""

    duplicates: str = "warn"  # warn, ignore or replace
    end: bytes = b"\0"


@dataclass(frozen=True, slots=True)
class Ownership:
    """The mode and owner that the new file gets; no owner: that of the process."""

    mode: int
    owner: tuple[int, int] | None


class Sorter:
    """Takes entries in any order, gives them back sorted by key and line."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._entries: list[Entry] = []
        self._weight = 0
        self._runs: list[IO[bytes]] = []
        self.bytes = 0  # room that they need in an LMDB file, at most

    def add(self, key: bytes, line: int, value: bytes) -> None:
        self._entries.append((key, line, value))
        size = len(key) + len(value)
        self._weight += size + ENTRY_OVERHEAD
        self.bytes += size + 24 if size < PAGE // 4 else size + 3 * PAGE
        if self._weight > RUN_BYTES:
            self._spill()

    def sorted(self) -> Iterator[Entry]:
        self._entries.sort()
        if not self._runs:
            return iter(self._entries)
        return heapq.merge(*[_read_run(run) for run in self._runs], self._entries)

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def _spill(self) -> None:
        self._entries.sort()
        run = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  # closed by close()
        self._runs.append(run)
        for start in range(0, len(self._entries), BLOCK):
            marshal.dump(self._entries[start : start + BLOCK], run)
        run.seek(0)
        self._entries, self._weight = [], 0


def _read_run(run: IO[bytes]) -> Iterator[Entry]:
    while True:
        try:
            block: list[Entry] = marshal.load(run)  # noqa: S302  # written by _spill, an unnamed file
        except EOFError:
            return
        yield from block


def build(
    path: str, sorter: Sorter, form: Form, ownership: Ownership, duplicate: Callable[[int, bytes], None]
) -> None:
    """Make the LMDB file at `path` of the sorter's entries; `duplicate(line, key)` hears of keys left out."""
    with _new_file(path, ownership) as temporary, _environment(temporary, sorter.bytes * 2) as environment:
        chosen = _unique(sorter.sorted(), form, duplicate)
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            consumed, added = cursor.putmulti(chosen, append=True)
        if consumed != added:
            raise BuildError(f"{path}: entries are not in order")


def _unique(
    entries: Iterator[Entry], form: Form, duplicate: Callable[[int, bytes], None]
) -> Iterator[tuple[bytes, bytes]]:
    """One entry a key: the first, or with `replace` the last."""
    held: Entry | None = None
    for entry in entries:
        if held is not None and entry[0] == held[0]:
            if form.duplicates == "replace":
                held = entry
            elif form.duplicates == "warn":
                duplicate(entry[1], entry[0].removesuffix(b"\0"))
            continue
        if held is not None:
            yield held[0], held[2]
        held = entry
    if held is not None:
        yield held[0], held[2]


def update(
    path: str,
    entries: Iterable[tuple[bytes, bytes]],
    form: Form,
    ownership: Ownership,
    duplicate: Callable[[bytes], None],
) -> None:
    """Add entries to the table at `path` (postmap -i), which need not be there."""
    additions = list(entries)

    def change(transaction: lmdb.Transaction) -> bool:
        end = _ending(transaction, form)
        for key, value in additions:
            stored = transaction.put(key + end, value + end, overwrite=form.duplicates == "replace")
            if not stored and form.duplicates == "warn":
                duplicate(key)
        return True

    _change(path, ownership, change, sum(len(key) + len(value) + PAGE for key, value in additions))


def delete(path: str, keys: Iterable[bytes], ownership: Ownership) -> bool:
    """Remove keys (postmap -d). Was one of them there?"""

    def change(transaction: lmdb.Transaction) -> bool:
        return any([transaction.delete(key + end) for key in keys if key for end in (b"\0", b"")])

    return os.path.exists(path) and _change(path, ownership, change, 0)


def _ending(transaction: lmdb.Transaction, form: Form) -> bytes:
    """What the texts of this table end in: as those that are there."""
    cursor = transaction.cursor()
    if cursor.first():
        return b"\0" if bytes(cursor.key()).endswith(b"\0") else b""
    return form.end


def _change(path: str, ownership: Ownership, change: Callable[[lmdb.Transaction], bool], more: int) -> bool:
    """Apply `change` to a copy of the table, and put that in its place if `change` says that it did any."""
    with _directory_lock(path), _new_file(path, ownership) as temporary:
        size = _copy_locked(path, temporary)
        with (
            _environment(temporary, size * 2 + more) as environment,
            environment.begin(write=True) as transaction,
        ):
            changed = change(transaction)
        if not changed:
            raise _Unchanged
        return True
    return False


class _Unchanged(Exception):
    """There is nothing to rename: _new_file swallows it."""


@contextlib.contextmanager
def _directory_lock(path: str) -> Iterator[None]:
    """Two postmaps that change tables in one directory do it one after the other: no update is lost."""
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _copy_locked(path: str, temporary: str) -> int:
    """Copy the table, under the lock that Debian's postmap takes (lmdb_table(5)); its size, 0: none there."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as source, open(temporary, "wb") as target:
        fcntl.lockf(source, fcntl.LOCK_SH)
        shutil.copyfileobj(source, target, 1 << 20)
        return target.tell()


@contextlib.contextmanager
def _environment(path: str, size: int) -> Iterator[lmdb.Environment]:
    size = (size + (16 << 20)) // PAGE * PAGE
    environment = lmdb.open(
        path, map_size=size, subdir=False, lock=False, sync=False, max_dbs=0, meminit=True
    )
    try:
        yield environment
        environment.sync(True)
    finally:
        environment.close()


@contextlib.contextmanager
def _new_file(path: str, ownership: Ownership) -> Iterator[str]:
    """An empty file beside `path`; what the caller makes of it is verified and renamed over `path`."""
    directory, name = os.path.split(path)
    fd, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory or ".")
    try:
        if ownership.owner is not None and os.geteuid() == 0:
            os.fchown(fd, *ownership.owner)
        os.fchmod(fd, ownership.mode)
        yield temporary
        _verify(temporary)
        os.fsync(fd)
        os.rename(temporary, path)
        _sync_directory(directory or ".")
    except _Unchanged:
        os.unlink(temporary)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


def _verify(path: str) -> None:
    """Read the file back, as its readers will: every entry, and as many as it says."""
    try:
        with (
            lmdb.open(path, subdir=False, lock=False, readonly=True) as environment,
            environment.begin() as transaction,
        ):
            count = sum(1 for _ in transaction.cursor().iternext(values=False))
            if count != transaction.stat()["entries"]:
                raise BuildError(f"{path}: the new database does not read back")
    except lmdb.Error as error:
        raise BuildError(f"{path}: the new database does not read back: {error}") from error


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ownership_of(path: str, source: os.stat_result | None, as_owner: bool, save_mode: bool) -> Ownership:
    """As Postfix: an existing table keeps its mode and owner, a new one takes them from its source."""
    try:
        old = os.stat(path)
    except OSError:
        mode = 0o644 & ~(~source.st_mode & 0o077) if source is not None and save_mode else 0o644
        owner = (source.st_uid, source.st_gid) if source is not None and as_owner else None
        return Ownership(mode, owner)
    return Ownership(old.st_mode & 0o777, (old.st_uid, old.st_gid))


def key_problem(key: bytes) -> str | None:
    """Why a key cannot be stored."""
    if len(key) > MAX_KEY:
        return f'key is longer than {MAX_KEY} bytes: "{printable(key[:40])}..." -- ignoring this line'
    if b"\0" in key:
        return f'key has a NUL in it: "{printable(key)}" -- ignoring this line'
    return None
