"""The commit thread, one for a worker: everything that waits in a shard is its next batch.

The loop's thread puts records (`put`) and outcomes (`outcomes`), and takes what is durable (`take`). No
timer and no wake-up but when the thread sleeps. Invariant: a batch is handed out by `take` only after its
fdatasync returned 0; after the first error nothing more is handed out and nothing more is written.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from fastrelay.queue._record import Record
from fastrelay.queue.shard import Issued, Shard

Done = Issued | Callable[[], None]


class Committer:
    """`notify` is called on the commit thread once until the next `take`."""

    def __init__(
        self, notify: Callable[[], None], fatal: Callable[[str], None], starved: Callable[[Shard], None]
    ) -> None:
        self._notify = notify
        self._starved = starved  # called on the commit thread: the shard waits for a segment
        self._fatal = fatal
        self.lock = threading.Lock()
        self._wake = threading.Lock()
        self._wake.acquire()
        self._idle = False
        self._stopping = False
        self._failed = False
        self._ready: deque[Shard] = deque()
        self._done: list[Done] = []
        self._notified = False
        self._thread = threading.Thread(target=self._run, name="queue-commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is ready, then end."""
        with self.lock:
            self._stopping = True
            self._rouse()
        self._thread.join()

    @property
    def failed(self) -> bool:
        return self._failed

    def put(self, shard: Shard, record: Record, urgent: bool = True) -> None:
        """A record at the end of the shard's log; the thread starts on it at once when it is urgent."""
        with self.lock:
            shard.pending.append(record)
            shard.tail = None
            if urgent:
                self._make_ready(shard)

    def outcomes(self, shard: Shard) -> Record:
        """The record that takes outcomes; only to be used with the lock held."""
        tail = shard.tail
        if tail is None:
            tail = shard.tail = Record()
            shard.pending.append(tail)
        return tail

    def kick(self, shard: Shard) -> None:
        """Something of this shard is to be written now, or a segment that it waited for is there."""
        with self.lock:
            self._make_ready(shard)

    def deliver(self, call: Callable[[], None]) -> None:
        """Have `call` called on the loop's thread, from any thread."""
        self._finish(call)

    def take(self) -> list[Done]:
        """What is done since the last call."""
        with self.lock:
            done, self._done = self._done, []
            self._notified = False
        return [] if self._failed else done

    def fail(self, reason: str) -> None:
        """Nothing is acknowledged or written after this; `fatal` is called once."""
        with self.lock:
            first, self._failed = not self._failed, True
        if first:
            self._fatal(reason)

    def _make_ready(self, shard: Shard) -> None:
        if not shard.ready:
            shard.ready = True
            self._ready.append(shard)
        self._rouse()

    def _rouse(self) -> None:
        if self._idle:
            self._idle = False
            self._wake.release()

    def _run(self) -> None:
        try:
            while not self._failed:
                shard = self._next()
                if shard is not None:
                    self._turn(shard)
                elif self._stopping and not self._ready:
                    return
                else:
                    self._wake.acquire()
        except Exception as error:  # the disk's or ours: the worker must end, nothing is acknowledged
            self.fail(f"queue file write error: {error!r}")

    def _next(self) -> Shard | None:
        with self.lock:
            if not self._ready:
                self._idle = not self._stopping
                return None
            shard = self._ready.popleft()
            shard.ready = False
            if shard.pending:
                shard.queue.extend(shard.pending)
                shard.pending.clear()
                shard.tail = None
            return shard

    def _turn(self, shard: Shard) -> None:
        """One batch of this shard; what is left of it waits for its next turn."""
        issued = shard.issue()
        if issued is None:
            if shard.queue and not shard.full:
                self._starved(shard)
            return
        if issued.batch is not None and issued.segment is not None:
            shard.write(issued.segment, issued.batch)
        if shard.queue:
            self.kick(shard)
        self._finish(issued)

    def _finish(self, done: Done) -> None:
        with self.lock:
            self._done.append(done)
            first, self._notified = not self._notified, True
        if first:
            self._notify()
