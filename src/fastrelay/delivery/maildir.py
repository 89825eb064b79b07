"""Write one message to a Maildir so that it is there whole or not at all, and stays after a crash.

Runs in a thread or in the mailbox helper's child, with the owner's rights. Order: file in tmp, fsync,
rename into new, fsync of new. Names are unique by time, device and inode, as Postfix makes them.
"""

from __future__ import annotations

import os
import time
from errno import EACCES, EDQUOT, EFBIG, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC

OVER_QUOTA = frozenset({EDQUOT, EFBIG})
SYSTEM_ERRORS = frozenset({ENOSPC, EMFILE, ENFILE, ENOMEM})


class MailboxProblem(Exception):
    """Why a mailbox did not take a message: status code, the text for the log, the warnings besides."""

    def __init__(self, dsn: bytes, text: bytes, warnings: tuple[bytes, ...] = ()) -> None:
        super().__init__(dsn, text)
        self.dsn = dsn
        self.text = text
        self.warnings = warnings


def write_message(directory: bytes, data: bytes, host_name: str, size_limit: int = 0) -> bytes:
    """Deliver `data` to the Maildir (`/home/u/Maildir/`); returns the new path, raises MailboxProblem."""
    now = time.time_ns()
    host = host_name.encode().replace(b"/", b"\\057").replace(b":", b"\\072")
    seconds, micros = now // 10**9, now % 10**9 // 1000
    temporary = os.path.join(directory, b"tmp", b"%d.P%dQ%d.%s" % (seconds, os.getpid(), now % 10**9, host))
    fd = _create(directory, temporary)
    try:
        status = os.fstat(fd)
        _fill(fd, data, size_limit)
    except OSError as error:
        os.unlink(temporary)
        raise problem(error, b"error writing message") from error
    finally:
        os.close(fd)
    name = b"%d.V%xI%xM%d.%s" % (seconds, status.st_dev, status.st_ino, micros, host)
    final = os.path.join(directory, b"new", name)
    _publish(directory, temporary, final)
    return final


def _create(directory: bytes, temporary: bytes) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        try:
            return os.open(temporary, flags, 0o600)
        except FileNotFoundError:
            _make_maildir(directory)
            return os.open(temporary, flags, 0o600)
    except OSError as error:
        raise problem(error, b"create maildir file " + temporary) from error


def _fill(fd: int, data: bytes, size_limit: int) -> None:
    if size_limit and len(data) > size_limit:
        raise OSError(EFBIG, os.strerror(EFBIG))
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fsync(fd)


def _publish(directory: bytes, temporary: bytes, final: bytes) -> None:
    try:
        try:
            os.rename(temporary, final)
        except FileNotFoundError:
            _make_maildir(directory)
            os.rename(temporary, final)
        sync_directory(os.path.dirname(final))
    except OSError as error:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise problem(error, b"create maildir file " + final) from error


def _make_maildir(directory: bytes) -> None:
    """The Maildir and what is missing above it, for its owner alone, each durable in its parent."""
    for name in (b"tmp", b"new", b"cur"):
        _make_directories(os.path.join(directory, name))


def _make_directories(path: bytes) -> None:
    path = path.rstrip(b"/")
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        _make_directories(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # another delivery made it meanwhile
    sync_directory(parent)


def sync_directory(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def problem(error: OSError, action: bytes) -> MailboxProblem:
    """An error of the file system as Postfix puts it; over quota bounces, all else is tried again."""
    code = error.errno or ENOENT
    dsn = b"5.2.2" if code in OVER_QUOTA else b"4.3.0" if code in SYSTEM_ERRORS else b"4.2.0"
    warnings: tuple[bytes, ...] = ()
    if code == EACCES:
        who = b"maildir access problem for UID/GID=%d/%d: " % (os.geteuid(), os.getegid())
        reason = action + b": " + os.strerror(code).encode()
        warnings = (who + reason, b"perhaps you need to create the maildirs in advance")
    text = b"maildir delivery failed: " + action + b": " + os.strerror(code).encode()
    return MailboxProblem(dsn, text, warnings)
