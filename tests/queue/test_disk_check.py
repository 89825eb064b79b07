"""What the disk check at start says of mounts, preloaded libraries and syncs that are too fast."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrelay.queue import disk_check
from fastrelay.queue.disk_check import Mount, examine, find_mount, judge
from fastrelay.queue.files import Files
from support.relay import PATIENCE, Fastrelay

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
31 22 0:28 / /tmp rw,nosuid - tmpfs tmpfs rw,size=1g
40 22 254:1 /sub /var/spool/a\\040b rw,relatime master:2 shared:7 - xfs /dev/vdb rw,nobarrier
"""


class Instant(Files):
    def fdatasync(self, fd: int) -> None:
        pass


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("mnt_id", "kind", "option"),
    [("22", "ext4", "errors=remount-ro"), ("31", "tmpfs", "nosuid"), ("40", "xfs", "nobarrier")],
)
def test_the_mount_of_a_file(mnt_id: str, kind: str, option: str) -> None:
    mount = find_mount(f"pos:\t0\nflags:\t0200000\nmnt_id:\t{mnt_id}\n", MOUNTINFO)
    assert mount is not None and mount.kind == kind and option in mount.options


def test_a_mount_that_the_kernel_does_not_name() -> None:
    assert find_mount("pos:\t0\n", MOUNTINFO) is None
    assert find_mount("mnt_id:\t99\n", MOUNTINFO) is None


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("ext4", {"rw", "relatime"}, ""),
        ("xfs", set(), ""),
        ("overlay", {"rw"}, ""),
        ("overlay", {"volatile"}, "does not survive"),
        ("tmpfs", set(), "does not survive"),
        ("nfs4", set(), "no promise"),
        ("fuse.sshfs", set(), "no promise"),
        ("fuseblk", set(), "no promise"),
        ("ext4", {"nobarrier"}, "mounted with nobarrier"),
        ("ext3", {"barrier=0"}, "mounted with barrier=0"),
        ("ext4", {"data=writeback"}, "mounted with data=writeback"),
    ],
)
def test_judgement(kind: str, options: set[str], words: str) -> None:
    found = list(judge(Mount(kind, frozenset(options))))
    assert len(found) == bool(words) and all(words in text for text in found)


def test_a_sync_that_does_nothing_is_noticed_and_nothing_is_left(directory: int, tmp_path: Path) -> None:
    report = examine(directory, Instant())
    assert any("it cannot have reached a disk" in text for text in report.refusals)
    assert "fdatasync p50 0.0" in report.summary
    assert list(tmp_path.iterdir()) == []


def test_copy_on_write_is_a_warning(directory: int, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    (proc / "fdinfo").mkdir(parents=True)
    (proc / "fdinfo" / str(directory)).write_text("mnt_id:\t5\n")
    (proc / "mountinfo").write_text("5 1 0:9 / / rw - btrfs /dev/x rw\n")
    (proc / "maps").write_text("")
    report = examine(directory, proc=proc)
    assert [text for text in report.warnings if "copies on write" in text]
    (proc / "maps").write_text("7f00 r-xp /usr/lib/x86_64-linux-gnu/libeatmydata.so.1.3.0\n")
    assert "libeatmydata is preloaded: syncs do nothing" in examine(directory, proc=proc).refusals


@pytest.mark.skipif(shutil.which("eatmydata") is None, reason="apt-get install eatmydata")
def test_start_and_check_refuse_a_lying_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    library = str(next(Path("/usr/lib").glob("*/libeatmydata.so")))
    relay = Fastrelay({"fastrelay_disk_check": "enforce"})
    try:
        monkeypatch.setenv("LD_PRELOAD", library)
        for command in ("check", "start-fg"):
            done = subprocess.run(relay.command(command), capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1 and "fatal: queue directory: " in done.stderr
            assert "libeatmydata is preloaded" in done.stderr
            assert "fastrelay_disk_check = warn" in done.stderr
        relay.write_main(fastrelay_disk_check="warn")
        with relay:
            assert "warning: queue directory: libeatmydata is preloaded" in relay.log()
            assert relay.send()
    finally:
        shutil.rmtree(relay.directory, ignore_errors=True)


def test_what_a_start_says_of_the_disk() -> None:
    with Fastrelay() as relay:
        relay.wait_log(r"queue directory: \w+, fdatasync p50 \d+\.\d\d ms, p99 \d+\.\d\d ms")
    assert disk_check.PROBES == 32
