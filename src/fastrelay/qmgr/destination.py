"""One (transport, next hop): its waiting deliveries, its concurrency window, whether it is dead.

Agents see it as borders.DestinationQueue. The scheduler asks `wants_slot` and opens slots. Invariant:
slots counts open_slot() calls not yet answered by release(); a dead destination hands out nothing, and
the scheduler defers what waits. After a suspension the window restarts at 1: one probe, then growth.
Feedback and dead-destination detection as SCHEDULER_README has them (Postfix 2.5 and later).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastrelay.borders import Delivery, Outcome
from fastrelay.qmgr.line import Line

if TYPE_CHECKING:
    from fastrelay.qmgr.message import QueuedDelivery
    from fastrelay.qmgr.transport import Transport

BATCH_A_SLOT = 8  # deliveries that a slot of a fast destination gets before another slot is worth opening
FAST = 0.05  # seconds a delivery: below, connection reuse beats concurrency
SLOW = 5.0  # seconds a delivery: above, the destination may not crowd out the others
PATIENCE = 0.2  # seconds a fast destination may hold waiting mail back before more slots open
TURN_DELIVERIES = 20  # while others wait for a slot: deliveries before one slot is given up
TURN_TIME = 1.0  # and seconds
UNPARK_BELOW = 100  # messages waiting: below, parked mail is fetched
ROUNDING = 1e-9


class Destination:
    """Fresh and retried mail wait apart and are taken in turn, so that neither starves the other."""

    def __init__(self, transport: Transport, name: bytes, next_hop: bytes) -> None:
        self.transport = transport.name
        self.transport_queue = transport
        self.name = name  # what it is known by in its transport: next hop, or with the recipient
        self.next_hop = next_hop
        self.fresh = Line(transport)
        self.retried = Line(transport)
        self.retried_turn = False
        self.parked: deque[Any] = deque()  # entries beyond this destination's share of the active queue
        self.window = transport.settings.initial_concurrency
        self.success = self.failure = self.failed_cohorts = 0.0
        self.reason: Outcome | None = None  # why it is dead
        self.suspended_until = 0.0
        self.slots = 0
        self.starting = 0  # slots opened that have not asked for a delivery yet
        self.in_first = False  # it stands in the transport's line of those without a slot
        self.in_job = False  # and there with others, for one message
        self.in_extra = False  # it has a place in the line of those that have a slot
        self.turn_count = 0
        self.turn_started = 0.0
        self.mean_time = -1.0  # seconds a delivery, smoothed; below 0: not known
        self.slow = False
        self.not_before = 0.0  # rate delay
        self.held_back = False  # a wake-up is under way for mail that a fast destination holds back
        self.progressed = False  # and a delivery ended since

    def waiting(self) -> int:
        """Deliveries."""
        return self.fresh.waiting + self.retried.waiting

    def messages(self) -> int:
        """That wait."""
        return self.fresh.messages() + self.retried.messages()

    def waiting_since(self) -> float:
        times = [line.waiting_since() for line in (self.fresh, self.retried) if line.waiting]
        return min(times, default=self.transport_queue.clock.now())

    # -- the agent's side ------------------------------------------------------------------------

    def take(self) -> Delivery | None:
        transport = self.transport_queue
        if self.starting:
            self.starting -= 1
        if self.reason is not None or self.slots > self.window or transport.paused:
            return None
        now = transport.clock.now()
        if now < self.not_before or (not transport.has_room() and self._turn_is_over(now)):
            return None
        delivery = self.pop()
        if delivery is None:
            return None
        delivery.started = now
        message = delivery.message
        message.in_flight += 1
        self.turn_count += 1
        if transport.rate_delay:
            self.not_before = now + transport.rate_delay
            transport.wake_at(self.not_before, self)
        if self.parked and self.messages() < UNPARK_BELOW:
            transport.scheduler.want_pump()
        return delivery

    def release(self) -> None:
        if not self.slots:
            raise RuntimeError("a slot was released twice")
        self.slots -= 1
        self.starting = min(self.starting, self.slots)
        self.transport_queue.slot_closed(self)

    def succeeded(self) -> None:
        transport = self.transport_queue
        self.failed_cohorts = 0.0
        if self.reason is not None:
            self.revive(max(1, self.slots))
            return
        limit = transport.concurrency_limit
        # Growth stays near the concurrency in use, or negative feedback would come too late.
        if (limit and self.window >= limit) or self.window >= self.slots + transport.initial_concurrency:
            return
        self._grow(transport.settings.positive_feedback.at(self.window), limit)

    def failed(self, outcome: Outcome) -> None:
        if self.reason is not None:
            return
        settings = self.transport_queue.settings
        self.failed_cohorts += 1.0 / self.window
        if settings.failed_cohort_limit and self.failed_cohorts + ROUNDING >= settings.failed_cohort_limit:
            self._suspend(outcome)
        else:
            self._shrink(settings.negative_feedback.at(self.window))

    # -- the window ------------------------------------------------------------------------------

    def _grow(self, feedback: float, limit: int) -> None:
        self.success += feedback
        while self.success + ROUNDING >= 1.0:
            self.window += 1
            self.success -= 1.0
            self.failure = 0.0
        if limit:
            self.window = min(self.window, limit)
        if self.waiting():
            self.transport_queue.make_ready(self)

    def _shrink(self, feedback: float) -> None:
        # The reverse cycle: the step down comes first, then the pause until 1/feedback failures more.
        self.failure -= feedback
        while self.failure < -ROUNDING:
            self.window -= 1
            self.success = 0.0
            self.failure += 1.0
        self.window = max(self.window, 1)

    def _suspend(self, outcome: Outcome) -> None:
        self.reason = outcome
        transport = self.transport_queue
        self.suspended_until = transport.clock.now() + transport.settings.suspension_time
        self.mean_time = -1.0
        if self.waiting() or self.parked:
            transport.scheduler.refuse(self)

    def revive(self, window: int = 1) -> None:
        self.reason = None
        self.suspended_until = 0.0
        self.window = window
        self.success = self.failure = self.failed_cohorts = 0.0
        if self.waiting():
            self.transport_queue.make_ready(self)

    def is_suspended(self, now: float) -> bool:
        """Dead and not due for a probe; the first question after the suspension time revives it."""
        if self.reason is None:
            return False
        if now >= self.suspended_until:
            self.revive()
            return False
        return True

    # -- the scheduler's side --------------------------------------------------------------------

    def push(self, delivery: QueuedDelivery) -> None:
        message = delivery.message
        (self.retried if message.retried else self.fresh).push(delivery)

    def push_job(self, deliveries: list[QueuedDelivery]) -> None:
        """All that one message has for it."""
        message = deliveries[0].message
        (self.retried if message.retried else self.fresh).push_job(deliveries, message.activated)

    def pop(self) -> QueuedDelivery | None:
        """The next delivery whose message still wants it, from new and retried mail in turn."""
        while self.fresh.waiting or self.retried.waiting:
            retried = self.retried.waiting > 0 and (self.retried_turn or not self.fresh.waiting)
            delivery: QueuedDelivery = (self.retried if retried else self.fresh).pop()
            self.retried_turn = not retried
            message = delivery.message
            if message.fate is None:
                return delivery
            message.pending -= 1  # held, deleted or requeued while it waited
        return None

    def wants_slot(self, now: float) -> bool:
        waiting = self.waiting()
        if waiting <= self.starting or self.slots >= self.window or now < self.not_before:
            return False
        if not self.slots:
            return True
        if self.slow and self.transport_queue.slow_pool_is_full():
            return False
        if not 0.0 <= self.mean_time < FAST or self.slots * BATCH_A_SLOT < waiting:
            return True
        self._hold_back(now)
        return False

    def stands_in_line(self) -> bool:
        """Where it belongs: those without a slot in the first line, and there for themselves."""
        return self.in_extra if self.slots else self.in_first and not self.in_job

    def _hold_back(self, now: float) -> None:
        """Few deliveries for a fast destination: its open slots will take them, unless it has stalled."""
        if not self.held_back:
            self.held_back = True
            self.progressed = False
            self.transport_queue.wake_at(now + PATIENCE, self)

    def woken(self) -> None:
        """A wake_at() came: what a destination held back without any progress gets more slots."""
        if self.held_back and not self.progressed:
            self.mean_time = -1.0
        self.held_back = False
        if self.waiting():
            self.transport_queue.make_ready(self)

    def finished(self, seconds: float) -> None:
        """A delivery was reported: notes how long they take."""
        mean = self.mean_time
        mean = seconds if mean < 0.0 else mean + (seconds - mean) * 0.125
        self.mean_time = mean
        self.progressed = True
        if (mean > SLOW) is not self.slow:
            self.slow = not self.slow
            self.transport_queue.slow_slots += self.slots if self.slow else -self.slots

    def _turn_is_over(self, now: float) -> bool:
        """All slots of the transport are open: give one up to a destination that has fewer."""
        advantage = self.slots - self.transport_queue.slots_of_next(self.slots)
        if advantage != 1:
            return advantage > 1
        if self.turn_count < TURN_DELIVERIES and now - self.turn_started < TURN_TIME:
            return False
        self.turn_count = 0
        self.turn_started = now
        return True

    def is_idle(self) -> bool:
        return not (self.slots or self.waiting() or self.parked)

    def refuse_heads(self, is_over: Callable[[QueuedDelivery], bool]) -> Iterator[QueuedDelivery]:
        """Takes out deliveries at the head of the line that waited for too long."""
        for line in (self.fresh, self.retried):
            for delivery in line.expel(lambda first: first.message.fate is not None or is_over(first)):
                if delivery.message.fate is None:
                    yield delivery
