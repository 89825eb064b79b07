"""A file system that is really full: 452 4.3.1, what is queued stays, and it goes on by itself when there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_parts import TimedSink, queued_labels, shards_of

from support.ledger import Senders, missing
from support.relay import Fastrelay, until

MIB = 1 << 20
HOW = "run as root where tmpfs may be mounted: pytest tests/crash/test_full_disk.py"
STORAGE_FULL = b"452 4.3.1 Insufficient system storage"


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here ({mounted.stderr.strip()}); {HOW}")
    try:
        yield
    finally:
        until(lambda: subprocess.run(["umount", str(place)], capture_output=True).returncode == 0)


@pytest.mark.skipif(os.geteuid() != 0, reason=f"not root; {HOW}")
def test_a_full_disk_refuses_keeps_and_goes_on() -> None:
    closed = [True]
    with TimedSink() as sink:
        hear, sink.reply = (
            sink.hear,
            lambda *told: b"451 4.2.0 later" if closed[0] and told[0] == "RCPT" else hear(*told),
        )
        relay = Fastrelay(
            {"relayhost": sink.next_hop, "message_size_limit": 200_000, "fastrelay_queue_shards": 2,
             "minimal_backoff_time": "1s", "maximal_backoff_time": "1s", "queue_run_delay": "1s"}
        )  # fmt: skip
        with small_disk(relay.spool, 10 * MIB), relay:
            pids = relay.worker_pids()
            with Senders(relay.host, relay.port, sizes=(50_000, 150_000), pause=0.005) as senders:
                senders.wait_reply(STORAGE_FULL)  # by its own mail
                full = len(senders.answered)
                senders.stop()
            assert full >= 20
            assert set(senders.replies) == {STORAGE_FULL}
            kept, _ = mailq_size(relay)
            assert kept == len(senders.answered)  # what is queued stays
            closed[0] = False  # it drains
            with Senders(relay.host, relay.port, sizes=(50_000,), pause=0.02) as more:
                more.wait(20)  # and goes on by itself
                before = len(more.answered)
                hog = relay.spool / "hog"
                fill(hog)  # others need the room
                more.wait_reply(STORAGE_FULL)
                hog.unlink()
                more.wait(20)
                assert len(more.answered) >= before + 20 and set(more.replies) == {STORAGE_FULL}
            answered = senders.answered + more.answered
            until(lambda: not missing(answered, sink.came), relay.troubles)
            assert relay.worker_pids() == pids and "fatal" not in relay.log()
            relay.stop()
            assert queued_labels(relay.spool, shards_of(relay.spool)) == (set(), [])
    assert sink.repeated() == {}


def mailq_size(relay: Fastrelay) -> tuple[int, str]:
    text = relay.tool("postqueue", "-j")
    return len(text.splitlines()), text


def fill(path: Path) -> None:
    """Until the file system is full."""
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
