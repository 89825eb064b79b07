"""One shard: an append-only log of segments, one batch of it in flight at a time.

The small interface behind which another kind of store can stand: put records (spool.py), issue and write
a batch (commit.py), trim (compact.py). The loop's thread owns it all but `spares`, a deque that the preparer
fills, and `full`.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from fastrelay.queue._batch import Batch
from fastrelay.queue._format import BATCH_SIZE, BLOCK, MAX_BATCH, MAX_PAYLOAD
from fastrelay.queue._record import Record
from fastrelay.queue.files import Files, write_all
from fastrelay.queue.segment import Segment, file_name

MAX_RECORDS = 1024  # in a batch


@dataclass(eq=False)
class Issued:
    """A batch, the segment that it goes to, and what was refused for want of room."""

    shard: Shard
    segment: Segment | None
    batch: Batch | None
    floor: int
    refused: list[Record] = field(default_factory=list)


class Shard:
    """See above. `full`: no segment could be made at the last attempt."""

    def __init__(self, number: int, directory: int, segment_size: int, files: Files) -> None:
        self.number = number
        self.directory = directory
        self.segment_size = segment_size
        self.chunk = min(MAX_PAYLOAD, segment_size // 4)
        self.files = files
        self.split_above = min(MAX_BATCH, segment_size - BLOCK) - BATCH_SIZE
        # the loop's
        self.segments: dict[int, Segment] = {}
        self.floor = 0  # no batch to come refers to a segment before this one
        self.lazy_since = 0.0
        self.warmed = 0  # the last segment that, half full, had the next made ready
        self.pending: list[Record] = []
        self.tail: Record | None = None  # the last of `pending`, when it takes more outcomes
        self.ready = False
        self.queue: list[Record] = []
        self.current: Segment | None = None
        self.offset = BLOCK
        self.batch_number = 0
        self.sequence = 0
        self.durable = (0, 0)
        self.vouched = True  # the last batch was empty, or there is none
        # the preparer's
        self.spares: deque[Segment] = deque()
        self.next_number = 1
        self.wanted_spares = 0
        self.full = False

    @property
    def used(self) -> bool:
        """Is anything in it, or on its way?"""
        return bool(self.segments or self.pending or self.queue or self.current)

    def intake_room(self) -> int:
        """Bytes that new mail can take without another segment; the last spare is kept for outcomes."""
        room = max(0, len(self.spares) - 1) * (self.segment_size - BLOCK)
        if self.current is not None:
            room += max(0, self.current.size - self.offset)
        return room

    def issue(self) -> Issued | None:
        """The next batch of what is queued; None: nothing, or it waits for a segment."""
        refused: list[Record] = []
        batch = None
        while self.queue and batch is None:
            if self.current is not None:
                batch = self._fill(self.current)
            if batch is None and self.queue and not self._advance(refused):
                break
        if batch is None and not refused:
            return None
        begun = self.queue[0] if self.queue and self.queue[0].begun else None
        here = self.current.number if self.current is not None else 0
        return Issued(self, self.current, batch, begun.segment if begun is not None else here, refused)

    def _new_batch(self, segment: Segment) -> Batch:
        room = segment.size - self.offset
        return Batch(
            segment.number,
            self.offset,
            segment.salt,
            room,
            self.batch_number + 1,
            self.sequence + 1,
            self.durable,
        )

    def _fill(self, segment: Segment) -> Batch | None:
        """A batch of what fits into the current segment; None: nothing does."""
        batch = self._new_batch(segment)
        taken = 0
        for record in self.queue:
            if taken == MAX_RECORDS or not (record.cancelled or batch.add(record, self.split_above)):
                break
            taken += 1
        del self.queue[:taken]
        return None if batch.empty else batch

    def _advance(self, refused: list[Record]) -> bool:
        """Go on in the next segment; False: wait for one. Mail may not take the last: it is kept for
        outcomes.
        """
        is_mail = self.queue[0].entry is not None
        if len(self.spares) > (1 if is_mail else 0):
            self.close_direct()
            self.current, self.offset = self.spares.popleft(), BLOCK
            self.current.direct = self.files.open_direct(
                file_name(self.current.number), dir_fd=self.directory
            )
            return True
        if not (is_mail and self.full):
            return False
        refused.extend(record for record in self.queue if record.entry is not None)
        self.queue = [record for record in self.queue if record.entry is None]
        return True

    def close_direct(self) -> None:
        """No batch is in flight, and none will go to the current segment."""
        if self.current is not None and self.current.direct >= 0:
            self.files.close(self.current.direct)
            self.current.direct = -1

    def ready_to_write(self, batch: Batch) -> Batch:
        """The whole of it, to be written at `offset`."""
        return batch.finish(time.time())

    def written(self, segment: Segment, batch: Batch) -> None:
        """The batch is durable."""
        self.offset += batch.size
        self.durable = (segment.number, self.offset)
        self.batch_number, self.sequence = batch.number, batch.sequence - 1
        self.vouched = False

    def vouch(self) -> None:
        """An empty batch, which says that the one before is durable: a clean stop."""
        segment = self.current
        if segment is None or self.vouched or segment.size - self.offset < BLOCK:
            return
        batch = self._new_batch(segment)
        write_all(self.files, segment.fd, self.ready_to_write(batch).buffers, self.offset)
        self.files.fdatasync(segment.fd)
        self.written(segment, batch)
        self.vouched = True
