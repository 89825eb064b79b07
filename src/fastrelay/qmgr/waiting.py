"""Entries that wait outside the active queue: new ones in order, deferred ones by due time.

The queue manager asks for the next one when the active queue has room: one new, then one deferred, as
qmgr(8) does, so that neither kind starves the other. What leaves is rate limited by a ramp after a
restart or a flush. Invariant: a heap item counts only while entry.next_try is the item's due time, so
that an entry rescheduled, held or deleted leaves nothing to search for.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
from collections import deque
from collections.abc import Iterable
from typing import Any

Item = tuple[float, int, Any]  # due, tie-break, entry

RAMP_START = 100.0  # messages a second
RAMP_LIMIT = 5000.0


class Source(enum.Enum):
    INCOMING = enum.auto()
    DEFERRED = enum.auto()
    FLUSHED = enum.auto()


class Ramp:
    """A rate that doubles every second, from RAMP_START up to RAMP_LIMIT."""

    def __init__(self, now: float) -> None:
        self.started = now

    def rate(self, now: float) -> float:
        seconds = min(max(0.0, now - self.started), 16.0)
        return min(RAMP_LIMIT, RAMP_START * math.pow(2.0, seconds))


class WaitingRoom:
    def __init__(self) -> None:
        self.incoming: deque[Any] = deque()
        self._heap: list[Item] = []
        self._flushed: deque[Item] = deque()
        self._sequence = itertools.count()
        self._deferred_turn = False

    def add_incoming(self, entry: Any) -> None:
        entry.next_try = 0.0
        self.incoming.append(entry)

    def schedule(self, entry: Any, due: float) -> bool:
        """True: it is the first one due."""
        entry.next_try = due
        heapq.heappush(self._heap, (due, next(self._sequence), entry))
        return self._heap[0][0] == due

    def load(self, entries: Iterable[tuple[Any, float]]) -> None:
        """Many at once, at start."""
        for entry, due in entries:
            entry.next_try = due
            self._heap.append((due, next(self._sequence), entry))
        heapq.heapify(self._heap)

    def flush(self) -> None:
        """Everything deferred is due; roughly in the order it would have been."""
        self._flushed.extend(self._heap)
        self._heap = []

    def next_due(self, fresh: bool, deferred: bool) -> float | None:
        """When there is something to take; `fresh` and `deferred` say what may be taken."""
        if (fresh and self.incoming) or (deferred and self._flushed):
            return 0.0
        return self._heap[0][0] if deferred and self._heap else None

    def take(self, now: float, fresh: bool, deferred: bool) -> tuple[Any, Source] | None:
        """The next entry to activate, if there is one."""
        turn, self._deferred_turn = self._deferred_turn, not self._deferred_turn
        if fresh and not (turn and deferred and self._has_due(now)):
            while self.incoming:
                entry = self.incoming.popleft()
                if not entry.next_try:  # it was not requeued meanwhile
                    return entry, Source.INCOMING
        return self._take_deferred(now) if deferred else None

    def _has_due(self, now: float) -> bool:
        return bool(self._flushed) or (bool(self._heap) and self._heap[0][0] <= now)

    def _take_deferred(self, now: float) -> tuple[Any, Source] | None:
        while self._flushed:
            due, _, entry = self._flushed.popleft()
            if entry.next_try == due:
                return entry, Source.FLUSHED
        while self._heap and self._heap[0][0] <= now:
            due, _, entry = heapq.heappop(self._heap)
            if entry.next_try == due:
                return entry, Source.DEFERRED
        return None
