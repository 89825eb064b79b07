"""Work that a failing table or a full disk refuses, and when it is tried again: notices, in the Notifier's hands.

While it fails one is tried at a time, after pauses that grow, so that an outage costs neither CPU nor log
however much waits. One that works, the first or a new one, shows that the others can: PORTION at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]

FIRST, LAST = 5.0, 60.0  # seconds: a pause is twice the one before
PORTION = 20
BREATH = 0.01  # seconds between portions


class Retries:
    """`call_later(seconds, call)`: the loop's."""

    def __init__(self, call_later: Callable[[float, Call], asyncio.TimerHandle]) -> None:
        self._call_later = call_later
        self._waiting: deque[Call] = deque()
        self._works = True
        self._pause = FIRST
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Call) -> None:
        """It failed: it is tried again after those that wait already."""
        self._waiting.append(call)
        if self._works:
            self._works, self._pause = False, FIRST
            self._disarm()
        self._arm()

    def worked(self) -> None:
        """One that was tried, whether it had waited or not."""
        if not self._works:
            self._works = True
            self._disarm()
            self._arm()

    def _try(self) -> None:
        self._timer = None
        count = PORTION
        if not self._works:
            count, self._pause = 1, min(2 * self._pause, LAST)
        for _ in range(min(count, len(self._waiting))):
            self._waiting.popleft()()
        self._arm()

    def _arm(self) -> None:
        if self._waiting and self._timer is None:
            self._timer = self._call_later(BREATH if self._works else self._pause, self._try)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
