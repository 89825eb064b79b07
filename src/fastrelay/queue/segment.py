"""Segments: the files of the log. Made by `prepare`, made again by `recycle`, told apart by their salt.

The Preparer's thread does both, so that neither the loop nor the commit thread waits for a zero-fill.
Invariant: a file with the name of a segment has a durable header and its full size (docs/queue-format.md,
"Files").
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

from fastrelay.queue._checksum import crc32c
from fastrelay.queue._format import BLOCK, VERSION, CorruptRecord, NewerFormat
from fastrelay.queue.files import Files, write_all

_MAGIC = b"FRSEG\r\n\x1a"
_HEADER = struct.Struct("<8sIIQQQ")
_FILL = mmap.mmap(-1, 1 << 20)  # zeros, aligned for direct writes
_COPY_ON_WRITE = frozenset({0x9123683E, 0x2FC12FC1, 0xCA451A4E})  # btrfs, zfs, bcachefs


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class NoRoom(Exception):
    """A segment cannot be made now; nothing is lost by it."""


@dataclass(eq=False)
class Segment:
    """An open segment. `live` messages begin in it.

    `direct` (-1: none) is where the committer writes to: the page cache would copy every byte once more, into
    pages that nobody reads again, and fresh pages cost several times what the copy does.
    """

    number: int
    fd: int
    salt: int
    size: int
    direct: int = -1
    live: int = 0
    live_bytes: int = 0


def file_name(number: int) -> str:
    return f"{number:016x}.seg"


def number_of(name: str) -> int | None:
    """The number of a segment's file name; None: not one."""
    stem, dot, suffix = name.rpartition(".")
    if suffix != "seg" or len(stem) != 16 or not dot:
        return None
    with contextlib.suppress(ValueError):
        return int(stem, 16) if stem == stem.lower() else None
    return None


def is_copy_on_write(files: Files, directory: int) -> bool:
    """There an overwrite takes new blocks: nothing is gained by filling or recycling."""
    return files.filesystem_type(directory) in _COPY_ON_WRITE


def _header(shard: int, number: int, salt: int, size: int) -> bytes:
    head = _HEADER.pack(_MAGIC, VERSION, shard, number, salt, size)
    head += struct.pack("<I", crc32c(head))
    return head + bytes(BLOCK - len(head))


def read_header(files: Files, fd: int, shard: int, number: int) -> tuple[int, int]:
    """(salt, size). CorruptRecord, NewerFormat."""
    head = files.pread(fd, BLOCK, 0)
    size = _HEADER.size
    if len(head) < size + 4 or struct.unpack_from("<I", head, size)[0] != crc32c(head[:size]):
        raise CorruptRecord("its header is damaged")
    magic, version, its_shard, its_number, salt, length = _HEADER.unpack_from(head)
    if magic != _MAGIC:
        raise CorruptRecord("it is not a segment")
    if version != VERSION:
        raise NewerFormat(f"segment of version {version}")
    if (its_shard, its_number) != (shard, number):
        raise CorruptRecord(f"it is segment {its_number:x} of shard {its_shard:x}")
    return salt, length


def prepare(files: Files, directory: int, shard: int, number: int, size: int) -> Segment:
    """Make a segment: create, fill, fsync, rename, fsync of the directory. NoRoom; OSError: fatal."""
    name = f"{number:016x}.tmp"
    salt = int.from_bytes(os.urandom(8), "little")
    fd = -1
    try:
        fd = files.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, dir_fd=directory)
        write_all(files, fd, [_header(shard, number, salt, size)], 0)
        if is_copy_on_write(files, directory):
            files.ftruncate(fd, size)
        else:
            _fill_all(files, directory, name, fd, size)
        files.fsync(fd)
        files.rename(name, file_name(number), dir_fd=directory)
    except OSError as error:
        if fd >= 0:
            files.close(fd)
            with contextlib.suppress(OSError):  # the error that counts is the one above; start removes *.tmp
                files.unlink(name, dir_fd=directory)
        if error.errno in _NO_ROOM:
            raise NoRoom(str(error)) from error
        raise
    files.fsync(directory)
    return Segment(number, fd, salt, size)


def _fill_all(files: Files, directory: int, name: str, fd: int, size: int) -> None:
    """Zeros after the header, past the page cache where that can be."""
    start = BLOCK
    direct = files.open_direct(name, dir_fd=directory)
    if direct >= 0:
        try:
            start = fill(files, direct, start, size - size % BLOCK)
        finally:
            files.close(direct)
    fill(files, fd, start, size)


def fill(files: Files, fd: int, start: int, end: int) -> int:
    """Write zeros up to `end`."""
    zeros = memoryview(_FILL)
    while start < end:
        done = files.pwritev(fd, [zeros[: min(len(zeros), end - start)]], start)
        if done <= 0:
            raise OSError(errno.EIO, "short write")
        start += done
    return end


def recycle(files: Files, directory: int, shard: int, old: Segment, number: int) -> Segment:
    """Make a segment of one that is no longer needed; from the first fsync on the old one is gone."""
    name = f"{number:016x}.tmp"
    salt = int.from_bytes(os.urandom(8), "little")
    files.rename(file_name(old.number), name, dir_fd=directory)
    files.fsync(directory)
    write_all(files, old.fd, [_header(shard, number, salt, old.size)], 0)
    files.fdatasync(old.fd)
    files.rename(name, file_name(number), dir_fd=directory)
    files.fsync(directory)
    return Segment(number, old.fd, salt, old.size)


def remove(files: Files, directory: int, old: Segment) -> None:
    """Delete the oldest segment, durably before the next one can go."""
    files.unlink(file_name(old.number), dir_fd=directory)
    files.fsync(directory)
    files.close(old.fd)


class Preparer:
    """A thread for what may take long: making, recycling and removing segments, reading for relocation."""

    def __init__(self, fatal: Callable[[str], None]) -> None:
        self._fatal = fatal
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="queue-prepare", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Jobs that wait are still done."""
        self._jobs.put(None)
        self._thread.join()

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # ours or the disk's: the worker must not go on
                self._fatal(f"queue: preparing segments: {error!r}")
                return
