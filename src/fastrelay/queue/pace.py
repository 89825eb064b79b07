"""When the next batch begins: at once, or a little later because more mail is on its way.

A batch costs the same whether it holds one message or fifty: a flush of the disk, two system calls that sleep and
the wake-ups of a thread. Where messages follow each other fast, batches therefore begin INTERVAL after each other,
but as soon as one holds ENOUGH, or no client is sending a message that could still join (PostgreSQL's commit_delay
and commit_siblings have the same aim). A lone client, and a disk that takes longer than INTERVAL, are never made
to wait.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable
from time import monotonic

INTERVAL = 0.006  # seconds
WORTH = 1.0  # message that must be expected to join a batch that waits
ENOUGH = 8  # messages of a batch that waits for no more
SMOOTH = 4.0  # batches


class Pace:
    """`soon` calls once all that is ready now has been served, `later` is the loop's call_later, and `coming` tells
    how many messages clients are sending.
    """

    def __init__(
        self,
        soon: Callable[[Callable[[], None]], None],
        later: Callable[[float, Callable[[], None]], TimerHandle],
        coming: Callable[[], int],
        interval: float = INTERVAL,
    ) -> None:
        self.soon = soon
        self._interval = interval
        self._later = later
        self._coming = coming
        self._timer: TimerHandle | None = None
        self._begin: Callable[[], None]  # when the timer runs
        self._began = 0.0  # monotonic seconds: the last batch
        self._rate = 0.0  # messages a second

    def postpones(self, messages: int, begin: Callable[[], None]) -> bool:
        """Is the next batch, which has `messages` now, to wait? Then `begin` is called when its time has come."""
        if self._timer is not None:
            if messages < ENOUGH and self._coming():
                return True
            self.stop()
            return False
        wait = self._began + self._interval - monotonic()
        if wait <= 0 or messages >= ENOUGH or self._rate * wait < WORTH or not self._coming():
            return False
        self._begin, self._timer = begin, self._later(wait, self._due)
        return True

    def began(self, messages: int) -> None:
        """A batch begins with so many."""
        now = monotonic()
        if messages:
            self._rate += (messages / max(now - self._began, 1e-6) - self._rate) / SMOOTH
        self._began = now
        self.stop()

    def stop(self) -> None:
        """Nothing is postponed any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._begin()
