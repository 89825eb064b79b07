"""A spool in a directory of the test's own, driven by hand instead of by an event loop."""

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue._entry import Entry
from fastrelay.queue.files import FILES, Files
from fastrelay.queue.pace import Pace
from fastrelay.queue.settings import QueueSettings
from fastrelay.queue.spool import Spool

MIB = 1 << 20


def settings(**changes: int) -> QueueSettings:
    values = {
        "fastrelay_queue_shards": 4,
        "fastrelay_segment_size": MIB,
        "fastrelay_relocation_rate": 64 * MIB,
        "fastrelay_commit_deadline": 120,
        "message_size_limit": 10240000,
        "queue_minfree": 0,
    }
    return QueueSettings(**{**values, **changes})


def envelope(name: str = "a", recipients: int = 1, **changes: object) -> Envelope:
    people = [Recipient(b"%s-%d@example.net" % (name.encode(), i)) for i in range(recipients)]
    return Envelope(**{"sender": b"s@example.org", "recipients": people, "arrival": 1.7e9, **changes})  # type: ignore[arg-type]


def outcome(recipient: int, status: Status, text: bytes = b"") -> Outcome:
    return Outcome(recipient, status, b"4.0.0", text, setup_delay=0.25)


class Lab:
    """One Spool and the ledger of what it acknowledged."""

    def __init__(
        self,
        directory: Path,
        shards: Iterable[int] = (0,),
        files: Files = FILES,
        start: bool = True,
        pace: Pace | None = None,
        **changes: int,
    ) -> None:
        self.fatal: list[str] = []
        self.refused = 0
        self.acked: list[Entry] = []
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.spool = Spool(self.fd, list(shards), settings(**changes), self._fatal, files, pace=pace)
        self.problems = self.spool.recover()
        if start:
            self.spool.start()

    def _fatal(self, reason: str) -> None:
        self.acked_before_fatal = len(self.acked)
        self.fatal.append(reason)

    def _done(self, entry: Entry | None) -> None:
        if entry is None:
            self.refused += 1
        else:
            self.acked.append(entry)

    def append(self, envelope: Envelope, content: Iterable[bytes], hold: bool = False) -> int:
        message = self.spool.new_id(time.time())
        self.spool.append(message, envelope, list(content), self._done, hold)
        return message

    def store(self, envelope: Envelope, content: Iterable[bytes]) -> Entry:
        """Append and wait for the acknowledgement."""
        message = self.append(envelope, content)
        self.until(lambda: message in self.spool.entries)
        return self.spool.entries[message]

    def notice(self, envelope: Envelope, beside: int = 0) -> int:
        message = self.spool.new_id(time.time(), beside)
        about = self.spool.entries.get(envelope.notice_of)
        settles = about.failed_recipients() if about is not None else []
        self.spool.append_notice(message, envelope, [b"notice\r\n"], settles, self._done)
        return message

    def until(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        limit = time.monotonic() + seconds
        while not ready() and not self.fatal:
            assert time.monotonic() < limit, "nothing happens"
            select.select([self.spool.wake_fd], [], [], 0.01)
            self.spool.completed()
            if self.spool.wants_tick:
                self.spool.tick(time.monotonic())

    def answered(self, count: int) -> None:
        """Until so many messages were acknowledged or refused."""
        self.until(lambda: len(self.acked) + self.refused >= count)

    def settle(self) -> None:
        """Until everything that was recorded is durable."""
        self.until(lambda: not any(s.pending or s.queue or s.ready for s in self.spool._all))
        self.until(lambda: not self.spool._lazy)
        self.until(lambda: self.spool._committer._flying is None)

    def warm(self) -> None:
        """Until the segments are made, and nobody has a reason of its own to commit."""
        self.store(envelope("first"), [b"x"])
        self.until(lambda: all(len(s.spares) >= s.wanted_spares for s in self.spool._all))
        idle = threading.Event()
        self.spool._preparer.submit(idle.set)  # behind what it is doing now
        assert idle.wait(60)

    def stop(self) -> None:
        self.spool.stop()
        os.close(self.fd)

    def crash(self) -> None:
        """End without the courtesies of a stop: no final batch."""
        for shard in self.spool._all:
            shard.vouched = True
        self.stop()
