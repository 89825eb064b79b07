"""A clock for the queue that a jump of the wall clock does not frighten.

The worker makes one of time.time and time.monotonic and hands it out as `clock`. It follows the wall
clock by at most a tenth of the time that passes, so that a jump of days neither expires the whole queue
nor makes all of it due at once, and an hour back stops nothing. Invariant: it never goes backwards.
"""

from __future__ import annotations

from collections.abc import Callable

SLEW = 0.1
CORRECTED_EVERY = 1.0  # seconds


class Clock:
    """Any clock, as the queue manager reads it: in C when it is a steady one."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read

    def __call__(self) -> float:
        return self.now()

    def now(self) -> float:
        return self._read()


def clock_of(read: Callable[[], float]) -> Clock:
    return read if isinstance(read, Clock) else Clock(read)


class SteadyClock(Clock):
    def __init__(self, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._wall = wall
        self._read = monotonic
        self._corrected = monotonic()
        self._offset = wall() - self._corrected
        self._drift = 0.0  # how far the wall clock was ahead when it was last looked at

    def now(self) -> float:
        return self._time(self._read())

    def _time(self, now: float) -> float:
        if now - self._corrected >= CORRECTED_EVERY:
            self._offset += self._correction(now)
            self._corrected = now
            self._drift = self._wall() - now - self._offset
        return now + self._offset + self._correction(now)

    def _correction(self, now: float) -> float:
        allowed = (now - self._corrected) * SLEW
        if self._drift > allowed:
            return allowed
        return self._drift if self._drift > -allowed else -allowed
