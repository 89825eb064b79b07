"""One master a queue directory: pid/master.pid, locked for as long as any process of the tree lives.

The workers inherit the lock with the open file, so that no second master can start on shards that
a worker of a killed master still holds. Used by the supervisor to take it, by `status`, `stop`, ... to look.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from fastrelay.master.errors import FatalError

PATIENCE = 0.5  # `status` takes the lock for an instant; wait longer than that


def acquire(queue_directory: Path) -> int:
    """Take the lock and write our process id into it. Returns the open file, to be kept."""
    path = queue_directory / "pid" / "master.pid"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise FatalError(f"open lock file {path}: {error.strerror}") from None
    deadline = time.monotonic() + PATIENCE
    while not _try_lock(fd, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            os.close(fd)
            raise FatalError("the fastrelay mail system is already running")
        time.sleep(0.05)
    os.fchmod(fd, 0o644)
    write_pid(fd)
    return fd


def write_pid(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%*d\n" % (10, os.getpid()), 0)


def is_held(queue_directory: Path) -> bool:
    """Does any process of a mail system live on this queue?"""
    return _look(queue_directory) is not None


def running_pid(queue_directory: Path) -> int | None:
    """The process id of the master that runs on this queue, or None."""
    text = _look(queue_directory)
    return int(text) if text and text.isdigit() and int(text) > 1 else None


def _look(queue_directory: Path) -> bytes | None:
    """What is in the lock file when it is locked; None when it is not."""
    path = queue_directory / "pid" / "master.pid"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FatalError(f"open lock file {path}: {error.strerror}") from None
    try:
        return None if _try_lock(fd, fcntl.LOCK_SH) else os.pread(fd, 32, 0).strip()
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise FatalError(f"lock pid/master.pid: {error.strerror}") from None
    return True
