"""A loop's call_later, under a test's hand: time goes on when `run` says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Timer]] = []
        self._count = 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        timer = Timer(call)
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, timer))
        return timer

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled for _, _, timer in self._due)

    def run(self, until: float) -> None:
        """All that is due by then, in its order."""
        while self._due and self._due[0][0] <= until:
            due, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, due)
            if not timer.cancelled:
                timer.call()
        self.now = until
