"""What the crash tests of a whole relay share: a sink that knows when it got what, the queue read back, processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from support.keeping_sink import KeepingSink
from support.ledger import label_of
from support.queue_lab import Lab
from support.relay import Fastrelay, alive, until


class TimedSink(KeepingSink):
    """Keeps labels and when they came, not the messages; `later`: every third is deferred once."""

    def __init__(self, later: bool = False) -> None:
        super().__init__(reply=self.hear)
        self.later = later
        self.came: dict[str, list[float]] = {}
        self.bodies: dict[str, set[int]] = {}
        self._deferred: set[str] = set()
        self._guard = threading.Lock()

    def hear(self, stage: str, argument: bytes) -> bytes | None:
        if stage == "RCPT" and self.later and self._defers(label_of(argument)):
            return b"451 4.2.0 later"
        if stage == "DOT":
            label = label_of(argument.partition(b"Subject: ")[2])
            with self._guard:
                self.came.setdefault(label, []).append(time.monotonic())
                self.bodies.setdefault(label, set()).add(len(argument.partition(b"\r\n\r\n")[2]))
            self.messages.clear()
        return None

    def _defers(self, label: str) -> bool:
        with self._guard:
            first = label not in self._deferred and hash(label) % 3 == 0
            self._deferred.add(label)
            return first

    def repeated(self) -> dict[str, list[float]]:
        return {label: times for label, times in self.came.items() if len(times) > 1}


def queued_labels(spool: Path, shards: Iterable[int]) -> tuple[set[str], list[str]]:
    """(what the queue holds, what its recovery found damaged), by the real recovery; all of it reads back."""
    lab = Lab(spool / "fastrelay", shards=shards, start=False)
    try:
        found = set()
        for entry in lab.spool.entries.values():
            label = label_of(lab.spool.read_envelope(entry).recipients[0].address)
            content = b"".join(lab.spool.read_content(entry))
            assert label_of(content.partition(b"Subject: ")[2]) == label
            assert content.endswith(b"\r\n")
            found.add(label)
        return found, list(lab.problems)
    finally:
        lab.crash()


@dataclass
class InFlight:
    """What may be delivered twice: what a queue held at a kill although the next hop had it by then.

    Such a message's outcome was on its way to the disk: 10 to 20 ms and two commits (docs/queue-format.md), and
    what a busy machine adds to that (`window`, seconds). So it cannot have come long before.
    """

    sink: TimedSink
    window: float
    kills: list[tuple[float, set[str], float]] = field(default_factory=list)

    def killed(self, when: float, queued: set[str], slowest: float) -> None:
        """`slowest`: the longest that a commit has taken by then."""
        self.kills.append((when, queued, self.window + 2 * slowest))

    def found(self, label: str, came: float, before: float) -> bool:
        """Was it in flight then, at one of the kills before?"""
        return any(
            label in queued and abs(when - came) < window and when < before
            for when, queued, window in self.kills
        )

    def check(self) -> str:
        """Only what was in flight came twice, and only that was left in the queue; the numbers."""
        known = 0
        for when, queued, _ in self.kills:
            for label in queued & self.sink.came.keys():
                for came in self.sink.came[label]:
                    assert came > when or self.found(label, came, when + 1e-9), (label, came, when)
                    known += came < when
        for label, times in self.sink.repeated().items():
            for came, after in pairwise(times):
                assert self.found(label, came, after), (label, times)
        repeated = len(self.sink.repeated())
        return f"{len(self.kills)} kills, {known} in flight before them, {repeated} repeated"


def held_shards(spool: Path, pid: int) -> list[int]:
    """Those that this worker has open."""
    targets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.add(os.readlink(link))
    places = {shard: f"{spool.resolve()}/fastrelay/{shard:02x}" for shard in shards_of(spool)}
    return [shard for shard, place in places.items() if any(t.startswith(place) for t in targets)]


def are_free(spool: Path, shards: Iterable[int]) -> bool:
    """Has nobody locked them any more?"""
    for shard in shards:
        fd = os.open(spool / "fastrelay" / f"{shard:02x}", os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
    return True


def shards_of(spool: Path) -> list[int]:
    """The shards of a queue; [0] where nothing is left of it."""
    (spool / "fastrelay").mkdir(exist_ok=True)
    return sorted(int(path.name, 16) for path in (spool / "fastrelay").iterdir() if len(path.name) == 2) or [
        0
    ]


def family(relay: Fastrelay) -> list[int]:
    """Master and its children."""
    assert relay.process is not None
    path = Path(f"/proc/{relay.process.pid}/task/{relay.process.pid}/children")
    return [relay.process.pid, *map(int, path.read_text().split())]


def kill(pids: Iterable[int]) -> float:
    """kill -9; when."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def gone(relay: Fastrelay, pids: Iterable[int]) -> None:
    """Until none of them lives."""
    assert relay.process is not None

    def nobody() -> bool:
        relay.process.poll()
        return not any(alive(pid) for pid in pids)

    until(nobody, relay.troubles)
