"""Put a file in a table's place: made beside it, verified, synced, renamed over it. build.py fills the file.

Readers have the old file or the new one, whole. While it is made the new file has no name, so that whatever
ends the program leaves nothing; where the file system has no such files, the next builder clears what a killed
one left. One builder at a time works on a table (postmap, sync-table): it holds the lock of table_lock().
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass


class Busy(Exception):
    """Somebody else is making this table now."""


class Discarded(Exception):
    """Raised in the body of new_file(): the new file is not wanted after all, the table stays as it is."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The mode and owner that the new file gets; no owner: that of the process."""

    mode: int
    owner: tuple[int, int] | None


def ownership_of(path: str, source: os.stat_result | None, as_owner: bool, save_mode: bool) -> Ownership:
    """As Postfix: an existing table keeps its mode and owner, a new one takes them from its source."""
    try:
        old = os.stat(path)
    except OSError:
        mode = 0o644 & ~(~source.st_mode & 0o077) if source is not None and save_mode else 0o644
        owner = (source.st_uid, source.st_gid) if source is not None and as_owner else None
        return Ownership(mode, owner)
    return Ownership(old.st_mode & 0o777, (old.st_uid, old.st_gid))


@contextlib.contextmanager
def table_lock(path: str, wait: bool = True) -> Iterator[None]:
    """Be the only builder of the table at `path`: a lock on its file, or on the directory while there is none.

    The file is replaced by whoever holds its lock, so it is looked at again once the lock is there.
    """
    while True:
        fd = _open_for_lock(path)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise Busy(f"{path} is being made by another process") from error
            if _is_current(path, fd):
                yield
                return
        finally:
            os.close(fd)


def _open_for_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _is_current(path: str, fd: int) -> bool:
    """Is what was opened still what _open_for_lock() would open?"""
    again = _open_for_lock(path)
    try:
        return os.path.sameopenfile(again, fd)
    finally:
        os.close(again)


@contextlib.contextmanager
def new_file(path: str, ownership: Ownership) -> Iterator[str]:
    """A path by which to fill an empty file; once the body is done it is synced and renamed over `path`.

    Call it with the table's lock. Discarded in the body: nothing happens.
    """
    directory, name = os.path.split(path)
    directory = directory or "."
    for left in glob.glob(os.path.join(glob.escape(directory), f".{glob.escape(name)}.{'[0-9a-f]' * 8}")):
        os.unlink(left)
    named = os.path.join(directory, f".{name}.{secrets.token_hex(4)}")
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = -1
    try:
        fd, reachable = _create(directory, named)
        if ownership.owner is not None and os.geteuid() == 0:
            os.fchown(fd, *ownership.owner)
        os.fchmod(fd, ownership.mode)
        yield reachable
        os.fsync(fd)
        if reachable != named:
            os.link(reachable, named, src_dir_fd=folder, follow_symlinks=True)
        os.rename(named, path)
        os.fsync(folder)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(named)
        if not isinstance(error, Discarded):
            raise
    finally:
        if fd >= 0:
            os.close(fd)
        os.close(folder)


def _create(directory: str, named: str) -> tuple[int, str]:
    """A new file without a name, and a path that leads to it; or where that cannot be one with a name."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        fd = os.open(directory, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
    else:
        reachable = f"/proc/self/fd/{fd}"
        if os.access(reachable, os.R_OK | os.W_OK, effective_ids=True):  # not with another's rights
            return fd, reachable
        os.close(fd)
    return os.open(named, flags | os.O_CREAT | os.O_EXCL, 0o600), named
