"""A queue that is full before the relay starts: messages put into its shards by the spool itself, many at a time."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue._entry import Entry
from fastrelay.queue.spool import Spool
from support.queue_lab import settings

IN_FLIGHT = 1000
NOT_YET = b"delivery temporarily suspended: connect to there.test[192.0.2.1]:25: Connection timed out"


class Filler:
    """`directory` is that of the shards: queue_directory/fastrelay."""

    def __init__(self, directory: Path, shards: int, segment_size: int = 64 << 20) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        sizes = settings(fastrelay_queue_shards=shards, fastrelay_segment_size=segment_size)
        self.spool = Spool(self.directory, range(shards), sizes, self.failed)
        assert self.spool.recover() == []
        self.spool.start()
        self.stored: list[Entry] = []

    @staticmethod
    def failed(reason: str) -> None:
        raise AssertionError(reason)

    def fill(self, count: int, size: int = 4096, deferred_for: float = 0.0, domains: int = 1) -> None:
        """`deferred_for` seconds, from a first try; 0: nobody has tried yet."""
        content = [b"Subject: queued\r\n\r\n", (b"x" * 70 + b"\r\n") * (size // 72)]
        now, wanted = time.time(), len(self.stored) + count
        outcome = [Outcome(0, Status.DEFERRED, b"4.4.1", NOT_YET)] if deferred_for else []
        for number in range(count):
            while number - (len(self.stored) - wanted + count) >= IN_FLIGHT:
                self.turn()
            envelope = Envelope(
                b"sender@client.test",
                [Recipient(b"%duser@there%d.test" % (number, number % domains))],
                now,
                sum(map(len, content)),
                message_id=b"<%d@client.test>" % number,
                client_name=b"client.test",
                client_address=b"192.0.2.7",
                helo=b"client.test",
                protocol=b"ESMTP",
            )
            self.spool.append(self.spool.new_id(now), envelope, content, self.durable)
        while len(self.stored) < wanted:
            self.turn()
        for entry in self.stored[-count:] if outcome else ():
            self.spool.record(entry, outcome, now + deferred_for)

    def durable(self, entry: Entry | None) -> None:
        assert entry is not None, "the disk is full"
        self.stored.append(entry)

    def turn(self) -> None:
        select.select([self.spool.wake_fd], [], [], 0.1)
        self.spool.completed()

    def close(self) -> None:
        self.spool.stop()
        os.close(self.directory)
