"""Does the queue's disk keep what it promises? Asked once at start, and by `check` (reliability 1.5).

Called by master before any worker. `refusals` are what would lose acknowledged mail in a power cut: a file
system in memory or over a network, write barriers switched off, a preloaded library that swallows syncs, syncs
that are too fast to be true. Which mount it is, the kernel says (fdinfo's mnt_id), not the path.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fastrelay.queue.files import FILES, Files

PROBES = 32
TOO_FAST = 20e-6  # seconds, on average: no disk is that fast
BLOCK = bytes(4096)
PROC = Path("/proc/self")
_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre"})
_COPY_ON_WRITE = frozenset({"btrfs", "zfs", "bcachefs"})
_BAD_OPTIONS = frozenset({"nobarrier", "barrier=0", "data=writeback"})


@dataclass(slots=True)
class Report:
    """What was found, in words for the log."""

    summary: str = ""
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mount:
    kind: str
    options: frozenset[str]


def examine(directory: int, files: Files = FILES, proc: Path = PROC) -> Report:
    """All of it, for an open directory of the queue. OSError: the disk fails already."""
    report = Report()
    mount = find_mount((proc / "fdinfo" / str(directory)).read_text(), (proc / "mountinfo").read_text())
    if mount is not None:
        report.refusals += judge(mount)
        if mount.kind in _COPY_ON_WRITE:
            report.warnings.append(f"{mount.kind} copies on write: a full disk can end a worker in a commit")
    if "libeatmydata" in (proc / "maps").read_text():
        report.refusals.append("libeatmydata is preloaded: syncs do nothing")
    times = probe(directory, files)
    average = sum(times) / len(times)
    if average < TOO_FAST:
        report.refusals.append(
            f"a sync takes {average * 1e6:.0f} us on average: it cannot have reached a disk"
        )
    kind = mount.kind if mount is not None else "unknown file system"
    middle, last = times[len(times) // 2], times[len(times) * 99 // 100]
    report.summary = f"{kind}, fdatasync p50 {middle * 1e3:.2f} ms, p99 {last * 1e3:.2f} ms"
    return report


def judge(mount: Mount) -> Iterator[str]:
    """Why a power cut would lose mail there."""
    if mount.kind in _VOLATILE or (mount.kind == "overlay" and "volatile" in mount.options):
        yield f"{mount.kind} does not survive a power cut"
    if mount.kind in _NETWORK or mount.kind.startswith("fuse"):
        yield f"{mount.kind} gives no promise about syncs and locks"
    for option in sorted(mount.options & _BAD_OPTIONS):
        yield f"it is mounted with {option}"


def find_mount(fdinfo: str, mountinfo: str) -> Mount | None:
    """The mount that an open file is on (proc(5)); None: the kernel does not say."""
    ids = [line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id:")]
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if fields and fields[0] in ids and rest:
            options = [*fields[5].split(","), *(rest[2].split(",") if len(rest) > 2 else [])]
            return Mount(rest[0], frozenset(options))
    return None


def probe(directory: int, files: Files) -> list[float]:
    """How long overwriting and syncing a block takes, sorted; the first one, which allocates, does not count."""
    name = f".sync.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        files.unlink(name, dir_fd=directory)
    fd = files.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, dir_fd=directory)
    try:
        found = []
        for _ in range(PROBES + 1):
            files.pwritev(fd, [BLOCK], 0)
            began = time.perf_counter()
            files.fdatasync(fd)
            found.append(time.perf_counter() - began)
        return sorted(found[1:])
    finally:
        files.close(fd)
        files.unlink(name, dir_fd=directory)
