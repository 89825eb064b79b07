"""The queue directory's subdirectories, with the owners and modes that they must have.

    pid/        root's: the lock
    control/    the workers' control sockets
    private/    the sockets of proxymap and proxywrite
    fastrelay/  the queue's shards, handed to workers as an open directory

Called by master before anything else is opened, and by `check`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import Owner
from fastrelay.queue import disk_check

MINE = {"pid": 0o755}
OWNERS = {"control": 0o700, "private": 0o700, "fastrelay": 0o700}
_HEX = frozenset("0123456789abcdef")


def prepare(queue_directory: Path, data_directory: Path, owner: Owner) -> None:
    """Create what is missing and mend what is wrong; FatalError when that cannot be done."""
    if not queue_directory.is_absolute():
        raise FatalError(f"queue_directory is not an absolute path: {queue_directory}")
    _directory(queue_directory, 0o755, None, parents=True)
    for name, mode in MINE.items():
        _directory(queue_directory / name, mode, None)
    for name, mode in OWNERS.items():
        _directory(queue_directory / name, mode, owner)
    if str(data_directory) not in ("", "."):
        _directory(data_directory, 0o700, owner, parents=True)


def open_queue(queue_directory: Path, owner: Owner) -> int:
    """The open directory of the shards, everything below it owned by the workers' user."""
    fd = os.open(queue_directory / "fastrelay", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if owner.name:
        _give_away(fd, owner)
    return fd


def shard_count(queue_fd: int, wanted: int) -> int:
    """`wanted` (fastrelay_queue_shards), or more: no shard that was ever made is left without a worker."""
    return max([wanted, *(number + 1 for number in shards(queue_fd))])


def shards(queue_fd: int) -> list[int]:
    """The shards that there are."""
    return sorted(int(name, 16) for name in os.listdir(queue_fd) if len(name) == 2 and set(name) <= _HEX)


def probe(queue_fd: int) -> None:
    """Run by a worker after it dropped its rights: can it make files where it must?"""
    name = f".probe.{os.getpid()}"
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=queue_fd))
        os.unlink(name, dir_fd=queue_fd)
    except OSError as error:
        raise FatalError(f"queue directory is not writable: {error.strerror}") from None


def check_disk(queue_fd: int, how: str) -> tuple[str, list[str]]:
    """fastrelay_disk_check: (a summary, warnings); FatalError when the disk would lose mail in a power cut."""
    if how == "no":
        return "not checked", []
    try:
        report = disk_check.examine(queue_fd)
    except OSError as error:
        raise FatalError(f"queue directory: the disk check failed: {error}") from None
    if report.refusals and how == "enforce":
        raise FatalError(
            f"queue directory: {'; '.join(report.refusals)}: a power cut would lose mail"
            " (fastrelay_disk_check = warn starts all the same)"
        )
    return report.summary, [f"queue directory: {text}" for text in report.refusals + report.warnings]


def _directory(path: Path, mode: int, owner: Owner | None, parents: bool = False) -> None:
    try:
        if parents:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        elif not path.is_dir():
            path.mkdir(mode=mode)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if parents else os.O_NOFOLLOW))
        try:
            _mend(fd, mode, owner, keep_mode=parents)
        finally:
            os.close(fd)
    except OSError as error:
        raise FatalError(f"directory {path}: {error.strerror}") from None


def _mend(fd: int, mode: int, owner: Owner | None, keep_mode: bool) -> None:
    status = os.fstat(fd)
    if owner and owner.name and (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        os.fchown(fd, owner.uid, owner.gid)
    if not keep_mode and stat.S_IMODE(status.st_mode) != mode:
        os.fchmod(fd, mode)


def _give_away(directory: int, owner: Owner) -> None:
    """Files left by another mail_owner, or by root; never through a link: it may be a trap."""
    for _, names, files, parent in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        for name in names + files:
            try:
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            except OSError:
                continue  # a link, or gone: the worker says so if it needs it
            try:
                status = os.fstat(fd)
                plain = stat.S_ISDIR(status.st_mode) or (
                    stat.S_ISREG(status.st_mode) and status.st_nlink == 1
                )
                if plain and (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
                    os.fchown(fd, owner.uid, owner.gid)
            finally:
                os.close(fd)
