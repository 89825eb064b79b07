"""What the crash tests of a whole relay share: a sink that knows when it got what, the queue read back, processes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable
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
