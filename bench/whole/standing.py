"""What stands still costs too: idle connections, a long queue, and a start with it (`--standing`).

Each figure is taken from a relay of its own; memory is what the workers' PSS grew by. The crowd of clients and
the full queue are those of the tests (tests/load, which hold the relay to these figures in `make soak`).
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from bench.whole.cases import Case
from bench.whole.ends import Sink
from bench.whole.relays import Directory, Relay

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

CONNECTIONS, QUEUED = 10_000, 200_000
SEGMENT = 64 << 20
CASE = Case("standing")


def settled(relay: Relay) -> float:
    """MiB, when it has stopped growing."""
    before, now = 0.0, relay.meter.memory()
    while now > before + 0.5:
        time.sleep(1.0)
        before, now = now, relay.meter.memory()
    return now


def idle_connections() -> float:
    """MiB more in one worker."""
    from support.crowd import Crowd

    with (
        Sink(CASE) as sink,
        Directory(CASE, sink.port) as directory,
        Relay("fastrelay", directory, 1) as relay,
        Crowd(relay.port) as crowd,
    ):
        crowd.open(100)
        before = settled(relay)
        crowd.open(CONNECTIONS - 100)
        crowd.say(b"EHLO client.example\r\n")
        return settled(relay) - before


class FullRelay(Relay):
    """Starts with `count` messages of 4 KB, deferred for so many seconds."""

    def __init__(self, directory: Directory, workers: int, deferred_for: float, count: int = QUEUED) -> None:
        super().__init__("fastrelay", directory, workers)
        self.deferred_for, self.count = deferred_for, count

    def prepare(self) -> None:
        from support.full_queue import Filler

        filler = Filler(self.directory.path / "spool/fastrelay", 16, SEGMENT)
        filler.fill(self.count, 4096, self.deferred_for)
        filler.close()
        self.begun = time.monotonic()


def queued(workers: int) -> float:
    """MiB more than an empty relay."""
    with Sink(CASE) as sink, Directory(CASE, sink.port) as directory:
        with Relay("fastrelay", directory, workers) as empty:
            before = settled(empty)
        with FullRelay(directory, workers, 3600.0) as full:
            return settled(full) - before


def first_delivery(workers: int) -> float:
    """Seconds from the start command."""
    with (
        Sink(CASE) as sink,
        Directory(CASE, sink.port) as directory,
        FullRelay(directory, workers, 0.0) as relay,
    ):
        log = relay.directory.log_path
        while not re.search(rb"status=sent", log.read_bytes() if log.exists() else b""):
            time.sleep(0.02)
        return time.monotonic() - relay.begun


def table(workers: int, times: int) -> tuple[str, dict[str, list[float]]]:
    """The rows of docs/benchmarks.md, and the samples for history.jsonl."""
    from bench.whole.report import number

    found = {
        "idle_mib": [idle_connections() for _ in range(times)],
        "queued_mib": [queued(workers) for _ in range(times)],
        "first_delivery_s": [first_delivery(workers) for _ in range(times)],
    }
    wanted = {
        "idle_mib": (f"memory: {CONNECTIONS:,} idle connections in one worker, MiB", 200.0),
        "queued_mib": (f"memory: {QUEUED:,} queued messages over an empty relay, MiB", 60.0),
        "first_delivery_s": (f"start with {QUEUED:,} queued until the first delivery, seconds", 5.0),
    }
    rows = ["| target | at most | measured (median) | reached |", "|---|---|---|---|"]
    for name, (what, most) in wanted.items():
        middle = sorted(found[name])[times // 2]
        rows.append(f"| {what} | {number(most)} | {number(middle)} | {'yes' if middle <= most else 'no'} |")
    return "\n".join(rows) + "\n", found
