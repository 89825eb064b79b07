"""Entries that wait outside the active queue: new ones in order, deferred ones by due time.

The queue manager asks for the next one when the active queue has room: one new, then one deferred, as
qmgr(8) does, so that neither kind starves the other. What leaves is rate limited by a ramp after a
restart or a flush. Messages whose recipients find no room there step aside into a line of their own, so that
they hold up no others. Entries due later than the next are in lists, one a SPAN of due times, which cost eight
bytes an entry; one list at a time is made a heap. Invariant: an entry counts only where entry.next_try
says it is due, so that one rescheduled, held or deleted leaves nothing to search for.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

LARGE_LIMIT = 10_000  # messages that stand aside, 100 bytes each
Item = tuple[float, int, Any]  # due, tie-break, entry

SPAN = 4.0  # seconds
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
    def __init__(self, may_hold: Callable[[int], bool]) -> None:
        """`may_hold` says whether the active queue has room for so many recipients."""
        self._may_hold = may_hold
        self.incoming: deque[Any] = deque()
        self._near: list[Item] = []  # a heap of what is due up to the end of span `_reached`
        self._reached = -1
        self._later: dict[int, list[Any]] = {}  # by span
        self._earliest: dict[int, float] = {}  # a due time at or before the first of that span
        self._spans: list[int] = []  # a heap of the keys of _later
        self._flushed: deque[tuple[int, list[Any]]] = deque()  # by span; a list is taken from its end
        self._sequence = itertools.count()
        self._deferred_turn = False
        self.large: deque[tuple[float, Source, Any]] = (
            deque()
        )  # with next_try as it was when it stepped aside

    def add_incoming(self, entry: Any) -> None:
        entry.next_try = 0.0
        self.incoming.append(entry)

    def schedule(self, entry: Any, due: float) -> bool:
        """True: it is the first one due."""
        entry.next_try = due
        span = span_of(due)
        if span > self._reached:
            return self._add_later(entry, span, due)
        heapq.heappush(self._near, (due, next(self._sequence), entry))
        return self._near[0][0] == due

    def load(self, entries: Iterable[tuple[Any, float]]) -> None:
        """Many at once, at start."""
        for entry, due in entries:
            self.schedule(entry, due)

    def flush(self) -> None:
        """Everything deferred is due; roughly in the order it would have been."""
        for due, _, entry in sorted(self._near):
            self._flushed.append((span_of(due), [entry]))
        for span in sorted(self._later):
            self._flushed.append((span, self._later[span][::-1]))
        self._near, self._later, self._earliest, self._spans = [], {}, {}, []

    def next_due(self, fresh: bool, deferred: bool) -> float | None:
        """When there is something to take; `fresh` and `deferred` say what may be taken."""
        if self._is_full():
            return None
        if (fresh and (self.incoming or self._large_fits())) or (deferred and self._flushed):
            return 0.0
        return self._first_due() if deferred else None

    def take(self, now: float, fresh: bool, deferred: bool) -> tuple[Any, Source] | None:
        """The next entry to activate, if there is one."""
        while fresh and self._large_fits():
            next_try, source, entry = self.large.popleft()
            if entry.next_try == next_try:  # it was not rescheduled meanwhile
                return entry, source
        while len(self.large) < LARGE_LIMIT and (taken := self._take_any(now, fresh, deferred)) is not None:
            entry, source = taken
            if self._may_hold(entry.recipients):
                return taken
            self.large.append((entry.next_try, source, entry))
        return None

    def _is_full(self) -> bool:
        """Nobody can step aside any more, so all wait until there is room for the first that did."""
        return len(self.large) >= LARGE_LIMIT and not self._large_fits()

    def _large_fits(self) -> bool:
        return bool(self.large) and self._may_hold(self.large[0][2].recipients)

    def _take_any(self, now: float, fresh: bool, deferred: bool) -> tuple[Any, Source] | None:
        turn, self._deferred_turn = self._deferred_turn, not self._deferred_turn
        if fresh and not (turn and deferred and self._has_due(now)):
            while self.incoming:
                entry = self.incoming.popleft()
                if not entry.next_try:  # it was not requeued meanwhile
                    return entry, Source.INCOMING
        return self._take_deferred(now) if deferred else None

    def _has_due(self, now: float) -> bool:
        if self._flushed:
            return True
        while not self._near and self._spans and self._earliest[self._spans[0]] <= now:
            self._reach(heapq.heappop(self._spans))
        return bool(self._near) and self._near[0][0] <= now

    def _first_due(self) -> float | None:
        if self._near:
            return self._near[0][0]
        return self._earliest[self._spans[0]] if self._spans else None

    def _take_deferred(self, now: float) -> tuple[Any, Source] | None:
        while self._flushed:
            span, entries = self._flushed[0]
            entry = entries.pop()
            if not entries:
                self._flushed.popleft()
            if span_of(entry.next_try) == span:
                return entry, Source.FLUSHED
        while self._has_due(now):
            due, _, entry = heapq.heappop(self._near)
            if entry.next_try == due:
                return entry, Source.DEFERRED
        return None

    def _add_later(self, entry: Any, span: int, due: float) -> bool:
        """True: it is the first one due."""
        waiting = self._later.get(span)
        if waiting is None:
            self._later[span] = [entry]
            heapq.heappush(self._spans, span)
        else:
            waiting.append(entry)
        if waiting is None or due < self._earliest[span]:
            self._earliest[span] = due
            return not self._near and self._spans[0] == span
        return False

    def _reach(self, span: int) -> None:
        """Its time has come."""
        self._reached = span
        del self._earliest[span]
        self._near = [
            (entry.next_try, next(self._sequence), entry)
            for entry in self._later.pop(span)
            if span_of(entry.next_try) == span
        ]
        heapq.heapify(self._near)


def span_of(due: float) -> int:
    return int(due // SPAN)
