"""Group commit: everything that waits in a shard while a batch is being synced is its next batch.

All but the write itself happens on the loop's thread. One batch is in flight at a time for a worker; when
`wake_fd` becomes readable the owner calls `take`, which starts the next batch before anybody is told of
the last. Invariant: a batch is handed out by `take` only after its fdatasync returned 0; after
the first error nothing more is handed out and nothing more is written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable

from fastrelay.queue._record import Record
from fastrelay.queue.files import Files
from fastrelay.queue.pace import Pace
from fastrelay.queue.shard import Issued, Shard
from fastrelay.queue.writer import make_writer, start_thread

Done = Issued | Callable[[], None]


class Committer:
    """`wake_fd` is an eventfd: readable when `take` has something to do."""

    def __init__(
        self,
        files: Files,
        fatal: Callable[[str], None],
        starved: Callable[[Shard], None],
        pace: Pace | None = None,
    ) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._writer = make_writer(files, self.wake_fd)
        self._starved = starved  # the shard waits for a segment
        self._pace = pace  # None: each batch begins as soon as it can
        self._begins = False
        self._came = 0  # since the last batch began
        self._fatal = fatal
        self._failed = False
        self.landed = 0  # batches written
        self._running = False
        self._ready: deque[Shard] = deque()
        self._flying: Issued | None = None
        self._done: list[Done] = []
        self._lock = threading.Lock()  # for _calls and _failed: the preparer's thread uses them too
        self._calls: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = start_thread(self._writer.run)
        self._running = True
        self._issue()

    def hurry(self) -> None:
        """From now on each batch begins as soon as it can."""
        if self._pace is not None:
            self._pace.stop()
            self._pace = None

    def stop(self) -> None:
        """Write what is ready, then end."""
        self._begin()
        while self._flying is not None:
            self._writer.wait()
            self._land()
            self._issue()
        self._running = False
        if self._thread is not None:
            self._writer.stop()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """After the last `take`."""
        if self.wake_fd >= 0:
            os.close(self.wake_fd)
            self.wake_fd = -1

    @property
    def failed(self) -> bool:
        return self._failed

    @property
    def flying(self) -> Issued | None:
        """The batch that is being written."""
        return self._flying

    def put(self, shard: Shard, record: Record, urgent: bool = True) -> None:
        """A record at the end of the shard's log; it is written at once when it is urgent."""
        shard.pending.append(record)
        shard.tail = None
        if urgent:
            self._came += 1
            self.kick(shard)

    def outcomes(self, shard: Shard) -> Record:
        """The record that takes outcomes."""
        tail = shard.tail
        if tail is None:
            tail = shard.tail = Record()
            shard.pending.append(tail)
        return tail

    def kick(self, shard: Shard) -> None:
        """Something of this shard is to be written now, or a segment that it waited for is there."""
        if not shard.ready:
            shard.ready = True
            self._ready.append(shard)
        if self._flying is None:
            self._start()

    def deliver(self, call: Callable[[], None]) -> None:
        """Have `call` called on the loop's thread, from any thread."""
        with self._lock:
            self._calls.append(call)
        os.eventfd_write(self.wake_fd, 1)

    def take(self) -> list[Done]:
        """What is done since the last call."""
        with contextlib.suppress(BlockingIOError):  # called without a wake-up
            os.eventfd_read(self.wake_fd)
        with self._lock:
            calls, self._calls = self._calls, []
        if self._flying is not None and self._writer.is_finished:
            self._land()
        if self._flying is None and self._ready and not self._is_early():
            self._issue()
        done, self._done = self._done, []
        return [] if self._failed else [*done, *calls]

    def fail(self, reason: str) -> None:
        """Nothing is acknowledged or written after this; `fatal` is called once."""
        with self._lock:
            first, self._failed = not self._failed, True
        if first:
            self._fatal(reason)

    def _start(self) -> None:
        """Something waits, and nothing is being written."""
        if self._begins or self._is_early():
            return
        if self._pace is None:
            self._issue()
        else:
            self._begins = True
            self._pace.soon(self._begin)

    def _is_early(self) -> bool:
        return self._pace is not None and self._pace.postpones(self._came, self._begin)

    def _begin(self) -> None:
        self._begins = False
        if self._flying is None:
            self._issue()

    def _land(self) -> None:
        """The batch in flight is written, or has failed."""
        issued, self._flying = self._flying, None
        assert issued is not None and issued.segment is not None and issued.batch is not None
        try:
            self._writer.result()
        except Exception as error:  # the disk's or ours: the worker must end, nothing is acknowledged
            self.fail(f"queue file write error: {error!r}")
            return
        self.landed += 1
        issued.shard.written(issued.segment, issued.batch)
        self._done.append(issued)
        if issued.shard.queue or issued.shard.pending:
            self._queue_again(issued.shard)

    def _queue_again(self, shard: Shard) -> None:
        """What came meanwhile: mail at once, outcomes alone when their time has come."""
        if shard.queue and not shard.ready:
            shard.ready = True
            self._ready.append(shard)

    def _issue(self) -> None:
        """Start the next batch, if there is one."""
        while self._flying is None and self._ready and self._running and not self._failed:
            shard = self._ready.popleft()
            shard.ready = False
            if shard.pending:
                shard.queue.extend(shard.pending)
                shard.pending.clear()
                shard.tail = None
            self._turn(shard)

    def _turn(self, shard: Shard) -> None:
        """One batch of this shard; what is left of it waits for its next turn."""
        issued = shard.issue()
        if issued is None:
            if shard.queue and not shard.full:
                self._starved(shard)
        elif issued.batch is not None and issued.segment is not None:
            self._flying = issued
            if self._pace is not None:
                self._pace.began(self._came)
                self._came = 0
            self._writer.start(issued.segment, shard.ready_to_write(issued.batch), shard.offset)
        else:
            self._done.append(issued)
            if shard.queue:
                self._queue_again(shard)
            os.eventfd_write(self.wake_fd, 1)
