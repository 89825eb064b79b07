"""A disk that fails under a relay at work: each call of the queue in turn, by a preloaded library."""

from __future__ import annotations

import errno
import mmap
import random
import struct
import subprocess
from pathlib import Path

import pytest
from crash_parts import TimedSink, queued_labels, shards_of

from support.ledger import Senders, missing
from support.relay import Fastrelay, until

SOURCE = Path(__file__).parent / "faulty_disk.c"
ORDER = struct.Struct("<iiii16s16s")


class FaultyDisk:
    """The library, and the page by which it is told what to do."""

    def __init__(self, directory: Path) -> None:
        self.library, self.orders = directory / "faulty_disk.so", directory / "orders"
        command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(self.library), str(SOURCE)]
        subprocess.run([*command, "-ldl"], check=True)
        self.orders.write_bytes(bytes(ORDER.size))
        with open(self.orders, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), ORDER.size)

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("LD_PRELOAD", str(self.library))
        patch.setenv("FAULTY_DISK", str(self.orders))

    def arm(self, call: str, error: int, skip: int = 0, suffix: str = "") -> None:
        self.page[:] = ORDER.pack(0, skip, error, 0, call.encode(), suffix.encode())
        self.page[:4] = struct.pack("<i", 1)

    def disarm(self) -> None:
        self.page[:4] = struct.pack("<i", 0)

    @property
    def failed(self) -> int:
        return int(struct.unpack_from("<i", self.page, 12)[0])


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    made = FaultyDisk(tmp_path)
    made.environment(monkeypatch)
    return made


def wait_dead(relay: Fastrelay, pids: list[int]) -> None:
    """Until the worker that had the fault has ended, and another is there."""
    either = "|".join(map(str, pids))
    relay.wait_log(rf"process fastrelay worker \d+ pid ({either}) exit status 74")
    until(lambda: len(relay.worker_pids()) == 2 and set(relay.worker_pids()) != set(pids), relay.troubles)


def finish(relay: Fastrelay, sink: TimedSink, senders: Senders) -> None:
    """All that was answered arrives; the queue is empty and whole."""
    senders.stop()
    until(lambda: not missing(senders.answered, sink.came), relay.troubles)
    relay.stop()
    assert queued_labels(relay.spool, shards_of(relay.spool)) == (set(), [])
    assert "panic" not in relay.log()
    assert all(len(sizes) == 1 for sizes in sink.bodies.values())


Fault = tuple[str, int, str]

# Each ends one worker: it says so, acknowledges nothing, and another one takes over.
FATAL: list[Fault] = [
    ("fdatasync", errno.EIO, ".seg"),
    ("pwritev", errno.ENOSPC, ".seg"),
    ("fsync", errno.EIO, ".tmp"),
    ("rename", errno.EIO, ".seg"),
    ("pwritev", errno.EIO, ".tmp"),
    ("fdatasync", errno.ENOSPC, ".seg"),
    ("fsync", errno.EIO, "dir"),
    ("create", errno.EIO, ".tmp"),
    ("pwritev", errno.EIO, ".seg"),
]
# These it gets over: the rest is written, or the segment is made later.
HARMLESS: list[Fault] = [
    ("pwritev", 0, ".seg"),
    ("pwritev", 0, ".tmp"),
    ("create", errno.ENOSPC, ".tmp"),
    ("open", errno.EIO, ".seg"),  # the second descriptor, for direct writes
    ("open", errno.EIO, ".tmp"),
    ("fsync", errno.ENOSPC, ".tmp"),
    ("create", errno.EMFILE, ".tmp"),
    ("create", errno.EDQUOT, ".tmp"),
]


def suffer(disk: FaultyDisk, faults: list[Fault], fatal: bool, skip: int = 2) -> None:
    with TimedSink() as sink, Fastrelay({"relayhost": sink.next_hop, "fastrelay_workers": 2}) as relay:
        until(lambda: len(relay.worker_pids()) == 2)
        before = relay.worker_pids()
        with Senders(relay.host, relay.port, sizes=(9000, 100_000)) as senders:
            for number, (call, error, suffix) in enumerate(faults, 1):
                senders.wait(20)
                pids = relay.worker_pids()
                disk.arm(call, error, skip, suffix)
                until(lambda: disk.failed == 1, lambda: f"{disk.page[:]!r} {relay.troubles()}")
                if fatal:
                    wait_dead(relay, pids)
                    assert relay.log().count(": fatal: queue") == number
            senders.wait(20)
            if not fatal:
                assert relay.worker_pids() == before, relay.troubles()
                assert "fatal" not in relay.log()
            finish(relay, sink, senders)


@pytest.mark.parametrize("part", range(3))
def test_a_fault_ends_the_worker_and_loses_nothing(disk: FaultyDisk, part: int) -> None:
    suffer(disk, FATAL[3 * part : 3 * part + 3], fatal=True)


def test_a_short_write_or_a_full_disk_ends_nothing(disk: FaultyDisk) -> None:
    suffer(disk, HARMLESS, fatal=False, skip=0)


def test_where_segments_are_made_by_ftruncate(disk: FaultyDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTRFS_DISK", "1")
    faults = [("ftruncate", errno.EIO, ".tmp"), ("unlink", errno.EIO, ".seg")]
    suffer(disk, faults, fatal=True, skip=0)


def test_a_disk_that_hangs_keeps_no_client_waiting(disk: FaultyDisk) -> None:
    """451 after fastrelay_commit_deadline; what was refused is not delivered, and it goes on."""
    main = {"fastrelay_workers": 1, "fastrelay_commit_deadline": "1s"}
    with (
        TimedSink() as sink,
        Fastrelay({"relayhost": sink.next_hop, **main}) as relay,
        Senders(relay.host, relay.port) as senders,
    ):
        senders.wait(20)
        disk.arm("fdatasync", -5000, 0, ".seg")
        senders.wait_reply(b"451 4.3.0 Error: queue file write error")
        senders.wait(50)
        relay.wait_log("warning: the disk hangs: ")
        finish(relay, sink, senders)
    assert senders.refused and set(senders.refused).isdisjoint(sink.came)
    assert sink.repeated() == {}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_faults_at_random_calls(disk: FaultyDisk, seed: int) -> None:
    chance = random.Random(seed)
    suffer(disk, chance.choices(FATAL, k=3), fatal=True, skip=chance.randrange(8))
    suffer(disk, chance.choices(HARMLESS, k=5), fatal=False, skip=chance.randrange(8))
