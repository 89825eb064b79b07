"""Make a compiled table of a text source, for postmap and postalias: read, sort, build beside, verify, rename.

The table's lock is held from before the source is opened, so that of two builders the later one reads the
newer source. A source that changes while it is read is read again: no table is made of half an edit.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from fastrelay.tables._sorter import Sorter
from fastrelay.tables._source import Scanner
from fastrelay.tables.build import Form, build, key_problem, table_lock
from fastrelay.tables.publish import Ownership, ownership_of
from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import Fold, choose_fold, strerror
from fastrelay.tables.text import printable

Reader = Callable[[Iterable[bytes], Entries], Iterator[tuple[int, bytes, bytes]]]
Builder = Callable[
    [str, Sorter, Form, Ownership, Callable[[int, bytes], None], Callable[[str], bool]], bool
]  # build.build, cdb_build.build_cdb
Convert = Callable[[bytes], bytes]
TRIES = 5  # readings of a source that keeps changing


class Fatal(Exception):
    """Ends the program with a message and status 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a source becomes entries: its syntax, its keys' folding, what to do with values, who hears complaints."""

    read: Reader
    fold: bool
    utf8: bool
    convert: Convert | None  # postmap -F; ValueError: why a value cannot be
    warn: Callable[[str], None]

    def entries(
        self, lines: Iterable[bytes], name: str, first: int = 1
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """(line, folded key, value); Fatal for a key that no table can have, so that none is lost unnoticed."""
        fold: Fold = choose_fold(self.fold, self.utf8)
        for line, key, value in self.read(lines, Entries(name, self.utf8, self.warn, first)):
            folded = fold(key)
            if folded is None:
                continue
            problem = key_problem(folded)
            if problem is not None:
                raise Fatal(f"{name}, line {line}: {problem}")
            try:
                yield line, folded, self.convert(value) if self.convert else value
            except ValueError as error:
                self.warn(f"{name}, line {line}: {error}: skipping this entry")

    def into(self, sorter: Sorter, source: IO[bytes], name: str, end: bytes) -> None:
        """Read a whole source; a postmap(1) source's plain lines never become objects."""

        def add(first: int, block: bytes) -> None:
            for line, key, value in self.entries(io.BytesIO(block), name, first):
                sorter.add(key + end, line, value + end)

        if self.read is read_entries and self.convert is None:
            Scanner(sorter, end, self.fold, add).read(source)
        else:
            for line, key, value in self.entries(source, name):
                sorter.add(key + end, line, value + end)


@dataclass(frozen=True, slots=True)
class Rights:
    """postmap -o and -p: whose work it is, and whether a new table's mode is that of its source."""

    as_owner: bool = True
    save_mode: bool = True


def compile_source(
    name: str,
    path: str,
    reading: Reading,
    form: Form,
    rights: Rights,
    signatures: Iterable[tuple[bytes, bytes]] = (),
    make: Builder = build,
) -> None:
    """Make the table at `path` of the source `name`; `signatures`: entries as stored that are added."""
    try:
        status = os.stat(name)
    except OSError as error:
        raise Fatal(f"open {name}: {strerror(error)}") from error
    directory = os.path.dirname(path) or "."
    with working_as(status, directory, rights.as_owner), table_lock(path):
        for _ in range(TRIES):
            with _open_source(name) as source, contextlib.closing(Sorter(directory)) as sorter:
                if _compile(source, path, reading, form, rights, sorter, signatures, make):
                    return
            reading.warn(f"{name}: the file changed while it was read: reading it again")
    raise Fatal(f"{name}: the file changes all the time, {path} stays as it is")


def _compile(
    source: IO[bytes],
    path: str,
    reading: Reading,
    form: Form,
    rights: Rights,
    sorter: Sorter,
    signatures: Iterable[tuple[bytes, bytes]],
    make: Builder,
) -> bool:
    """One reading. False: the source changed meanwhile, nothing was done."""
    before = os.fstat(source.fileno())
    reading.into(sorter, source, source.name, form.end)
    if _has_changed(source.name, before):
        return False
    for key, value in signatures:
        sorter.add(key, 0, value)
    return make(
        path,
        sorter,
        form,
        ownership_of(path, before, rights.as_owner, rights.save_mode),
        lambda line, key: reading.warn(f'{source.name}, line {line}: duplicate entry: "{printable(key)}"'),
        lambda made: not _has_changed(source.name, before),
    )


def _has_changed(name: str, before: os.stat_result) -> bool:
    """Is the file by this name another, or written to? Pipes and devices change by being read."""
    if not stat.S_ISREG(before.st_mode):
        return False
    now = os.stat(name)
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_dev,
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )


def _open_source(name: str) -> IO[bytes]:
    try:
        return open(name, "rb")
    except OSError as error:
        raise Fatal(f"open {name}: {strerror(error)}") from error


@contextlib.contextmanager
def working_as(source: os.stat_result, directory: str, as_owner: bool) -> Iterator[None]:
    """Work as the source's owner, as Postfix does, where others than root could play tricks with the files.

    In a directory that only root can write to, root does the work: the owner could not make a file there.
    """
    folder = os.stat(directory)
    safe = folder.st_uid == 0 and folder.st_mode & 0o022 == 0
    if not as_owner or os.geteuid() != 0 or source.st_uid == 0 or safe:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([source.st_gid])
    os.setegid(source.st_gid)
    os.seteuid(source.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
