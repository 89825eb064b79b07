"""Mail that waits outside the active queue for one clogged destination.

Without it a slow destination fills the active queue with its mail and stops everybody else's. The queue
manager parks entries here; they come back in order as their destination drains, or at once when it is
dead. Invariant: a destination is in `clogged` while it has parked entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastrelay.qmgr.active import ActiveQueue
from fastrelay.qmgr.destination import Destination


class Parking:
    def __init__(self, active: ActiveQueue) -> None:
        self._active = active
        self.clogged: dict[Destination, None] = {}

    def park(self, entry: Any, destination: Destination) -> None:
        entry.next_try = 0.0  # it is due at no time
        destination.parked.append(entry)
        self.clogged[destination] = None

    def may_leave(self) -> bool:
        return any(self._has_drained(destination) for destination in self.clogged)

    def leave(self, count: int) -> Iterator[Any]:
        """Up to `count` entries for each destination that has drained; the caller activates each at once."""
        for destination in list(self.clogged):
            for _ in range(count):
                if not self._has_drained(destination):
                    break
                yield from self._pop(destination)
            self._tidy(destination)

    def leave_older_than(self, arrival: float) -> Iterator[Any]:
        """What would expire here."""
        for destination in list(self.clogged):
            while destination.parked and destination.parked[0].arrival <= arrival:
                yield from self._pop(destination)
            self._tidy(destination)

    def _pop(self, destination: Destination) -> Iterator[Any]:
        entry = destination.parked.popleft()
        if not entry.next_try:  # nobody has rescheduled it meanwhile
            yield entry

    def _tidy(self, destination: Destination) -> None:
        if not destination.parked:
            self.clogged.pop(destination, None)
            destination.transport_queue.note_idle(destination)

    def _has_drained(self, destination: Destination) -> bool:
        if not destination.parked or not self._active.has_room():
            return False
        if not self._active.may_hold(destination.parked[0].recipients):
            return False
        return destination.reason is not None or destination.messages() < max(1, self._active.share() // 2)
