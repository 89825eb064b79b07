"""The one table of file functions of the queue, so that a simulated disk can stand in for it in tests.

Everything is relative to an open directory, because workers are chrooted and have given up their rights.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass

from fastrelay.queue._filesystem import filesystem_type

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Space:
    """What is free to an unprivileged process; `inodes` None: the file system does not count them."""

    free: int
    inodes: int | None


class Files:
    """The operating system's. Each raises OSError as the call behind it does."""

    def open(self, name: str, flags: int, mode: int = 0o600, *, dir_fd: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode, dir_fd=dir_fd)

    def open_direct(self, name: str, *, dir_fd: int) -> int:
        """A second descriptor that goes past the page cache, whole blocks and aligned memory only; -1: not here.

        Whatever keeps it from being opened: without it all goes the usual way, and tells what the disk has.
        """
        with contextlib.suppress(OSError):
            return os.open(name, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=dir_fd)
        return -1

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return os.pread(fd, size, offset)

    def preadv(self, fd: int, buffers: Sequence[bytearray | memoryview], offset: int) -> int:
        return os.preadv(fd, buffers, offset)

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        return os.pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def links(self, fd: int) -> int:
        return os.fstat(fd).st_nlink

    def rename(self, old: str, new: str, *, dir_fd: int, new_dir_fd: int | None = None) -> None:
        os.rename(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd if new_dir_fd is None else new_dir_fd)

    def link(self, old: str, new: str, *, dir_fd: int, new_dir_fd: int) -> None:
        os.link(old, new, src_dir_fd=dir_fd, dst_dir_fd=new_dir_fd, follow_symlinks=False)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        os.unlink(name, dir_fd=dir_fd)

    def mkdir(self, name: str, *, dir_fd: int) -> None:
        os.mkdir(name, 0o700, dir_fd=dir_fd)

    def names(self, fd: int) -> list[str]:
        return os.listdir(fd)

    def lock(self, fd: int) -> None:
        """Exclusive, not waiting: BlockingIOError when another process has it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def drop_cache(self, fd: int) -> None:
        """So that what is read next comes from the disk."""
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def space(self, fd: int) -> Space:
        found = os.fstatvfs(fd)
        return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)

    def filesystem_type(self, fd: int) -> int:
        return filesystem_type(fd)


FILES = Files()
_IOV_MAX = 1024  # IOV_MAX of Linux


def write_all(files: Files, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
    """Write every byte, in as few calls as there can be. OSError: none of it can be relied on."""
    written = 0
    for start in range(0, len(buffers), _IOV_MAX):
        part = buffers[start : start + _IOV_MAX] if len(buffers) > _IOV_MAX else buffers
        wanted = sum(map(len, part))
        done = files.pwritev(fd, part, offset + written)
        while done < wanted:  # a short write is completed or fatal
            rest = b"".join(part)[done:]
            step = files.pwritev(fd, [rest], offset + written + done)
            if step <= 0:
                raise OSError(5, "short write")
            done += step
        written += done
    return written
