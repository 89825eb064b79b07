"""One delivery transport of master.cf: its agent, its slots, and whose turn it is.

The scheduler owns it; destinations report to it. Invariant: open_slots is the sum of its destinations'
slots and never above the process limit; a destination that has waiting mail and no slot stands in line.
Slots go round robin among destinations, those without any first; beyond their first slot, slow ones
get no more while slow ones hold half of them.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from fastrelay.borders import Agent
from fastrelay.qmgr.destination import Destination
from fastrelay.qmgr.line import Line
from fastrelay.qmgr.settings import TransportSettings
from fastrelay.qmgr.steady import Clock

if TYPE_CHECKING:
    from fastrelay.qmgr.scheduler import Scheduler


class Transport:
    def __init__(
        self,
        name: bytes,
        agent: Agent,
        settings: TransportSettings,
        scheduler: Scheduler,
        clock: Clock,
    ) -> None:
        self.name = name
        self.agent = agent
        self._apply(settings)
        self.scheduler = scheduler
        self.paused = False  # the scheduler is
        self.clock = clock
        self.destinations: dict[bytes, Destination] = {}
        self.idle: dict[Destination, float] = {}  # since when, oldest first: kept for what they learnt
        self.first = Line(self)  # waiting for their only slot
        self.extra: deque[Destination] = deque()  # waiting for one more
        self.open_slots = 0
        self.slow_slots = 0

    def destination(self, next_hop: bytes, recipient: bytes) -> Destination:
        """With one recipient a delivery, concurrency is counted a recipient, as Postfix does."""
        name = next_hop + b"\0" + recipient if self.recipient_limit == 1 else next_hop
        destination = self.destinations.get(name)
        if destination is None:
            if len(self.idle) > self.settings.idle_limit * 5 // 4:
                self.forget_idle(self.clock.now(), math.inf)  # as many new ones in one queue run
            destination = self.destinations[name] = Destination(self, name, next_hop)
            self.idle[destination] = self.clock.now()
        return destination

    def _apply(self, settings: TransportSettings) -> None:
        """What every delivery asks for is kept apart."""
        self.settings = settings
        self.process_limit = settings.process_limit
        self.recipient_limit = settings.recipient_limit
        self.concurrency_limit = settings.concurrency_limit
        self.initial_concurrency = settings.initial_concurrency
        self.rate_delay = settings.rate_delay

    def reconfigure(self, settings: TransportSettings) -> None:
        self._apply(settings)
        for destination in self.destinations.values():
            if settings.concurrency_limit:
                destination.window = min(destination.window, settings.concurrency_limit)
            if destination.waiting():
                self.make_ready(destination)

    # -- told by destinations --------------------------------------------------------------------

    def make_ready(self, destination: Destination) -> None:
        """Stands it in line for a slot, if it does not yet stand in the right one."""
        if destination.stands_in_line():
            return
        if destination.slots:
            destination.in_extra = True
            self.extra.append(destination)
        else:
            destination.in_first, destination.in_job = True, False
            self.first.push(destination)
        self._note_ready(destination)

    def make_job_ready(self, destinations: list[Destination], since: float) -> None:
        """For those that one message goes to: where nobody else waits for them, they have one turn together."""
        first = [destination for destination in destinations if not destination.slots]
        for destination in first:
            destination.in_first, destination.in_job = True, len(first) > 1
            self._note_ready(destination)
        if first:
            self.first.push_job(first, since)
        for destination in destinations:
            if destination.slots:
                self.make_ready(destination)

    def _note_ready(self, destination: Destination) -> None:
        self.idle.pop(destination, None)
        self.scheduler.transport_ready(self)

    def slot_closed(self, destination: Destination) -> None:
        self.open_slots -= 1
        if destination.slow:
            self.slow_slots -= 1
        if destination.waiting():
            self.make_ready(destination)
        else:
            self.note_idle(destination)
        if self.first.waiting or self.extra:
            self.scheduler.transport_ready(self)

    def wake_at(self, due: float, destination: Destination) -> None:
        self.scheduler.wake_at(due, destination)

    # -- asked by destinations -------------------------------------------------------------------

    def has_room(self) -> bool:
        return not self.process_limit or self.open_slots < self.process_limit

    def slots_of_next(self, nobody: int) -> int:
        """How many slots the destination has whose turn is next; `nobody` when none waits."""
        if self.first.waiting:
            return 0
        while self.extra and not self.extra[0].slots:
            self._leave_line()
        return self.extra[0].slots if self.extra else nobody

    def slow_pool_is_full(self) -> bool:
        return bool(self.process_limit) and self.slow_slots * 2 >= self.process_limit

    # -- called by the scheduler -----------------------------------------------------------------

    def open_slots_in_turn(self, budget: int) -> bool:
        """One slot a turn for each destination that wants one; True: the budget ended before the work."""
        now = self.clock.now()
        while (self.first.waiting or self.extra) and self.has_room():
            if not budget:
                return True
            destination = self._leave_line()
            if destination is None:
                continue
            if not destination.is_suspended(now) and destination.wants_slot(now):
                budget -= 1
                self._open_slot(destination, now)
            else:
                self.note_idle(destination)
        return False

    def _leave_line(self) -> Destination | None:
        """The next one; None: it stands in another place by now, or nowhere."""
        if self.first.waiting:
            destination: Destination = self.first.pop()
            stood, destination.in_first, destination.in_job = destination.in_first, False, False
            return destination if stood else None
        destination = self.extra.popleft()
        destination.in_extra = False
        return destination if destination.slots else None

    def _open_slot(self, destination: Destination, now: float) -> None:
        if not destination.slots:
            destination.turn_count = 0
            destination.turn_started = now
        destination.slots += 1
        destination.starting += 1
        self.open_slots += 1
        if destination.slow:
            self.slow_slots += 1
        # Back in line before the agent runs: it may take, report and release at once.
        self.make_ready(destination)
        self.agent.open_slot(destination)

    def note_idle(self, destination: Destination) -> None:
        if not destination.in_first and destination not in self.idle and destination.is_idle():
            self.idle[destination] = self.clock.now()

    def forget_idle(self, now: float, keep: float) -> None:
        """Drops what was learnt about destinations without mail, oldest first; dead ones stay dead."""
        for destination in self.extra:
            destination.in_extra = destination.slots > 0
        self.extra = deque(destination for destination in self.extra if destination.in_extra)
        limit = self.settings.idle_limit
        for destination, since in list(self.idle.items()):
            if len(self.idle) <= limit and (now - since < keep or now < destination.suspended_until):
                break
            if destination.is_idle():
                del self.idle[destination]
                # one that was forgotten before, when mail was parked there late, may have a successor
                if self.destinations.get(destination.name) is destination:
                    del self.destinations[destination.name]
