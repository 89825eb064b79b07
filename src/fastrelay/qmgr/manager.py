"""The queue manager: what is active, what became of it, and when the rest is tried again.

The worker calls accepted() for each message just committed, recovered() once at start, report() for
each delivery, pump() when `schedule_pump` asked for it, and run() when next_due() has come; after each
pump() and run() it looks at next_due() anew. Invariant: a live entry that is not on hold is active, or
waits in the waiting room, or is parked at a destination; it is active at most once.
RFC 5321 4.5.4.1, 6.1; qmgr(8). The file is long because whatever makes a message active, or ends that, is in it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from fastrelay.borders import Content, Delivery, Envelope, Outcome, Status
from fastrelay.log import lines
from fastrelay.log.lines import queue_active
from fastrelay.qmgr import backoff, verdicts
from fastrelay.qmgr.activation import Activation, Plan
from fastrelay.qmgr.active import ActiveQueue
from fastrelay.qmgr.message import ActiveMessage, Fate, QueuedDelivery
from fastrelay.qmgr.parking import Parking
from fastrelay.qmgr.scheduler import Scheduler
from fastrelay.qmgr.settings import QmgrSettings, TransportSettings, read_transport_settings
from fastrelay.qmgr.steady import clock_of
from fastrelay.qmgr.surroundings import Surroundings
from fastrelay.qmgr.waiting import Ramp, Source, WaitingRoom
from fastrelay.tables.pending import Pending, again

DEFERRED = Status.DEFERRED
ONLY = (0,)  # the recipients of most messages
ACTIVATED_A_RUN = 50  # messages read back from the queue before the loop gets its turn


class QueueManager:
    def __init__(self, settings: QmgrSettings, around: Surroundings) -> None:
        self._settings = settings
        self._around = around
        self._spool = around.spool
        self._record = around.spool.record
        self._clock = clock_of(around.clock)
        self._log = around.log
        self._log_outcome = around.log_outcome
        self._active = ActiveQueue(settings)
        self.active = self._active.messages  # message_id -> what is being delivered
        self._waiting = WaitingRoom(lambda recipients: self._active.may_hold(recipients))
        self._parking = Parking(self._active)
        now = self._clock.now()
        self._ramp = Ramp(now)
        self._next_refill = now
        self._next_sweep = now + settings.queue_run_delay
        self._warned: dict[bytes, float] = {}
        self._starved = False  # something waits for room in the active queue
        self._site_scans: list[tuple[bytes, list[Any]]] = []
        self.scheduler = Scheduler(
            around.agents, self._transport_settings, self._clock, around.schedule_pump, self._refused
        )
        self._activation = self._make_activation()

    def _make_activation(self) -> Activation:
        around = self._around
        return Activation(
            self.scheduler,
            around.resolve,
            around.unresolvable,
            frozenset(name.encode() for name in self._settings.defer_transports),
            self._warn_unavailable,
            self._settings.default_filter_nexthop.encode(),
        )

    def reconfigure(self, settings: QmgrSettings, around: Surroundings) -> None:
        """New settings for what comes; nothing that is active is disturbed (agents, spool, clock stay)."""
        self._settings = settings
        self._around = around
        self._log_outcome = around.log_outcome
        self._active.set_limits(settings)
        self._activation = self._make_activation()
        self._next_sweep = min(self._next_sweep, self._clock.now() + settings.queue_run_delay)
        for transport in self.scheduler.transports():
            transport.reconfigure(self._transport_settings(transport.name))
        self.scheduler.want_pump()

    # -- into the active queue -------------------------------------------------------------------

    def accepted(
        self, entry: Any, envelope: Envelope, content: Content | None, queue_id: bytes = b""
    ) -> None:
        """A message was just committed; its contents are kept only within the memory limit."""
        count = len(envelope.recipients)
        if self._waiting.incoming or not self._active.may_start(count):
            self._waiting.add_incoming(entry)
            self.scheduler.want_pump()
            return
        message = self._make(entry, envelope, content, queue_id, False)
        self._start(message, ONLY if count == 1 else range(count))

    def recovered(self, entries: Iterable[Any]) -> None:
        """What the queue held at start, in order; it becomes active by and by."""
        deferred = []
        for entry in entries:
            if not self._around.is_live(entry):
                continue
            if entry.next_try > 0.0:
                deferred.append((entry, entry.next_try))
            else:
                self._waiting.add_incoming(entry)
        self._waiting.load(deferred)
        self._ramp = Ramp(self._clock.now())
        self.scheduler.want_pump()

    def _make(
        self, entry: Any, envelope: Envelope, content: Content | None, queue_id: bytes, retried: bool
    ) -> ActiveMessage:
        message = ActiveMessage.__new__(ActiveMessage)
        message.begin(
            entry,
            queue_id or self._around.queue_id(entry.message_id),
            envelope,
            content,
            self._clock.now(),
            retried,
            retried and self._settings.confirm_delay_cleared and entry.warned,
        )
        return message

    def _admit(self, message: ActiveMessage, recipients: int) -> None:
        """It is active from now on."""
        self._active.add(message, recipients)
        if message.content is None:
            message.load = partial(self._spool.read_content, message.entry)

    def _activate_stored(self, entry: Any, source: Source, unparked: bool = False) -> None:
        if entry.message_id in self.active or not self._around.is_live(entry):
            return
        try:
            envelope = self._spool.read_envelope(entry)
        except self._around.unreadable:
            return  # the queue has set it aside and said so
        retried = source is not Source.INCOMING
        message = self._make(entry, envelope, None, b"", retried)
        due = entry.failed_recipients()
        if due:  # a notice was due when the last process ended, or the message was held meanwhile
            message.due = list(self._reasons(entry, due))
        pending = entry.pending_recipients()
        if entry.forced_expire and pending:
            self._force(message, pending)
        else:
            self._start(message, pending, unparked, source is Source.FLUSHED)

    def _reasons(self, entry: Any, due: Iterable[int]) -> Iterator[tuple[int, Outcome]]:
        """What became of these recipients, as far as the queue still knows."""
        try:
            notes = self._spool.read_notes(entry)
        except self._around.unreadable:
            notes = {}
        for index in due:
            yield index, notes.get(index) or verdicts.forgotten(index)

    def _start(
        self, message: ActiveMessage, pending: Sequence[int], unparked: bool = False, flushed: bool = False
    ) -> None:
        room = self._active.share()
        self._admit(message, len(pending))
        try:
            if message.total == 1 and not unparked and not flushed:
                delivery = self._activation.single(message, pending[0], room)
                if delivery is not None:
                    message.pending = 1
                    self._log_active(message)
                    self.scheduler.add(delivery)
                    return
            plan = self._activation.plan(message, pending, room, unparked, flushed)
        except Pending as wait:
            plan_again = again(wait, self._activation.plan, message, pending, room, unparked, flushed)
            self._around.run(self._start_later(message, pending, plan_again))
            return
        self._follow(message, plan)

    async def _start_later(
        self, message: ActiveMessage, pending: Sequence[int], plan_again: Awaitable[Plan]
    ) -> None:
        """A table has to be waited for: the message is active meanwhile, and holds up no other."""
        try:
            plan = await plan_again
        except self._around.unresolvable:
            plan = self._activation.unresolved(pending)
        if self.active.get(message.entry.message_id) is message:  # nobody deleted or held it
            self._follow(message, plan)

    def _follow(self, message: ActiveMessage, plan: Plan) -> None:
        message.parked_at = plan.parked_at
        message.pending = len(plan.deliveries) + bool(plan.deferred)
        if not message.pending:
            self._end_pass(message, [])
            return
        self._log_active(message)
        self.scheduler.add_message(plan.deliveries)
        if plan.deferred:
            self._conclude(message, self._nowhere(message, plan.deferred), plan.deferred)

    def _nowhere(self, message: ActiveMessage, outcomes: list[Outcome]) -> Delivery:
        """What Postfix gives to its retry transport."""
        indices = [outcome.recipient for outcome in outcomes]
        addresses = [message.envelope.recipients[index].address for index in indices]
        return Delivery(message, b"retry", b"", indices, addresses, self._clock.now())

    def _force(self, message: ActiveMessage, pending: list[int]) -> None:
        """postsuper -e: it expires now, for the reasons of its last try where there was one."""
        self._admit(message, len(pending))
        self._log_active(message)
        notes = dict(self._reasons(message.entry, pending))
        untried = verdicts.administratively(index for index in pending if notes[index].status is not DEFERRED)
        nowhere = self._nowhere(message, untried)
        for outcome in untried:
            self._log_outcome(nowhere, outcome)
            notes[outcome.recipient] = outcome
        message.deferred = list(notes.values())
        self._end_pass(message, [])

    def _log_active(self, message: ActiveMessage) -> None:
        envelope = message.envelope
        count = len(envelope.recipients)  # as Postfix, with those that have ended
        self._log(b"qmgr", queue_active(message.queue_id, envelope.sender, envelope.size, count))

    # -- what became of it -----------------------------------------------------------------------

    def report(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        """An agent is done with a delivery: one outcome for each of its recipients."""
        assert isinstance(delivery, QueuedDelivery)
        queued, now = delivery, self._clock.now()
        destination, message = queued.destination, queued.message
        destination.finished(now - queued.started)
        message.in_flight -= 1
        if message.pending == 1 and len(outcomes) == 1 and message.ends_with(outcomes[0]):
            message.pending = 0  # the short way for what happens nearly always
            self._log_outcome(delivery, outcomes[0])
            if message.fate is None:
                self._end_pass(message, outcomes)
            else:
                self._conclude_dropped(message, outcomes)
        else:
            self._conclude(message, delivery, outcomes)

    def _refused(self, delivery: QueuedDelivery) -> None:
        reason = delivery.destination.reason
        assert reason is not None
        self._refuse(delivery, reason)

    def _refuse(self, delivery: QueuedDelivery, reason: Outcome) -> None:
        """Defers a delivery that no agent has taken."""
        delivery.started = self._clock.now()
        outcomes = verdicts.suspend(delivery.recipients, reason)
        self._conclude(delivery.message, delivery, outcomes)

    def _conclude(self, message: ActiveMessage, delivery: Delivery, outcomes: list[Outcome]) -> None:
        ended = []
        for outcome in outcomes:
            status = outcome.status
            if status is Status.BOUNCED and self._settings.soft_bounce:
                verdicts.soften(outcome)
                status = outcome.status
            self._log_outcome(delivery, outcome)
            if status is Status.SENT:
                ended.append(outcome)
                if not message.ends_with(outcome):
                    outcome.notice = True
                    message.tell(outcome)
            elif status is Status.DEFERRED:
                message.deferred = message.deferred or []
                message.deferred.append(outcome)
            else:
                ended.append(outcome)
                message.tell(outcome)
        message.pending -= 1
        if message.fate is not None:
            self._conclude_dropped(message, ended)
        elif not message.pending:
            self._end_pass(message, ended)
        elif ended:
            self._record(message.entry, ended)

    def _end_pass(self, message: ActiveMessage, ended: list[Outcome]) -> None:
        """All deliveries are reported: notices, another try, or the end."""
        late = None
        if message.deferred:
            now = self._clock.now()
            envelope = message.envelope
            if message.entry.forced_expire or now >= self._expiry(envelope):
                ended = ended + self._expire(message)
            else:
                message.next_try = backoff.next_try(
                    self._settings, envelope.arrival, now, self._around.random()
                )
                ended = ended + message.deferred
                if message.is_late(now, self._settings.delay_warning_time):
                    late = message.deferred
        if ended:
            self._record(message.entry, ended, message.next_try)
        if message.due or late or (message.envelope.expanded and message.entry.owes_expansion):
            message.bouncing = True
            self._around.bounce(message, message.due or [], late)
        else:
            self._leave(message)

    def _expiry(self, envelope: Envelope) -> float:
        return backoff.expiry(self._settings, envelope.arrival, envelope.sender)

    def _expire(self, message: ActiveMessage) -> list[Outcome]:
        status = b"force-expired" if message.entry.forced_expire else b"expired"
        self._log(b"qmgr", lines.expired(message.queue_id, message.envelope.sender, status))
        assert message.deferred is not None
        expired = verdicts.expire(message.deferred)
        for outcome in expired:
            message.tell(outcome)
        return expired

    def settled(self, message: ActiveMessage) -> None:
        """The notices that bounce() was asked for are in the queue, or none was due."""
        message.bouncing = False
        if message.fate is not None:
            self._wind_down(message)
        else:
            self._leave(message)

    def _leave(self, message: ActiveMessage) -> None:
        self._deactivate(message)
        if message.next_try:
            self._schedule(message.entry, message.next_try)
        elif message.parked_at is not None:
            self._parking.park(message.entry, message.parked_at)
            self.scheduler.want_pump()
        else:
            self._log(b"qmgr", message.queue_id + b": removed")

    def _deactivate(self, message: ActiveMessage) -> None:
        self._active.remove(message)
        if self._starved:
            self._starved = False
            self.scheduler.want_pump()

    def _schedule(self, entry: Any, due: float) -> None:
        if self._waiting.schedule(entry, due):
            self.scheduler.want_pump()  # so that the worker looks at next_due() again

    # -- what operators do -----------------------------------------------------------------------

    def delete(self, entry: Any) -> None:
        self._spool.remove(entry)
        self._drop(entry, Fate.DELETED)

    def expire(self, entry: Any) -> None:
        """It goes back to its sender with its next try; what is under way may still be delivered."""
        self._spool.expire(entry)

    def hold(self, entry: Any) -> None:
        self._spool.hold(entry)
        self._drop(entry, Fate.HELD)

    def release(self, entry: Any) -> None:
        self._spool.release(entry)
        self._again(entry)

    def requeue(self, entry: Any) -> None:
        """As if it had just arrived."""
        self._spool.requeue(entry)
        self._again(entry)

    def _again(self, entry: Any) -> None:
        """A new pass with the tables of now, at once or when the deliveries under way are back."""
        if not self._drop(entry, Fate.AGAIN):
            self._schedule(entry, self._clock.now())

    def flush_one(self, entry: Any) -> None:
        if entry.message_id not in self.active and self._around.is_live(entry):
            self._schedule(entry, self._clock.now())

    def pause(self, paused: bool) -> None:
        """Outcomes cannot be recorded (or can again): agents get nothing, or what is sent is sent twice."""
        if paused is not self.scheduler.paused:
            self.scheduler.pause(paused)

    def flush(self) -> None:
        """All deferred mail is due, and no destination counts as dead; the ramp starts anew."""
        self._ramp = Ramp(self._clock.now())
        self._waiting.flush()
        self.scheduler.flush_dead()
        self.scheduler.want_pump()

    def flush_site(self, domain: bytes) -> None:
        """Mail for this domain is due; the queue is looked through bit by bit in run()."""
        self._site_scans.append((domain.lower(), list(self._spool.entries.values())))
        self.scheduler.want_pump()

    def _drop(self, entry: Any, fate: Fate) -> bool:
        """Takes what no agent has yet out of the active queue; False: the entry is not active."""
        entry.next_try = 0.0
        message = self.active.get(entry.message_id)
        if message is None:
            return False
        message.fate = fate
        if not message.in_flight and not message.bouncing:
            self._wind_down(message)
        return True

    def _conclude_dropped(self, message: ActiveMessage, ended: list[Outcome]) -> None:
        if ended and message.fate is not Fate.DELETED:
            self._record(message.entry, ended)
        if not message.in_flight:
            self._wind_down(message)

    def _wind_down(self, message: ActiveMessage) -> None:
        self._deactivate(message)
        if message.fate is not Fate.AGAIN:
            return
        if self._around.is_live(message.entry):
            self._schedule(message.entry, self._clock.now())
        else:
            self._log(b"qmgr", message.queue_id + b": removed")  # the deliveries under way were the last

    # -- time ------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Opens slots for what was added; the worker's answer to schedule_pump."""
        if self.scheduler.paused:
            self.scheduler.pump()
            return
        now = self._clock.now()
        if now >= self._next_refill:
            self._refill(now)
        self._serve()

    def _serve(self) -> None:
        for entry in self._parking.leave(ACTIVATED_A_RUN):
            self._activate_parked(entry)
        self.scheduler.pump()
        if self._parking.may_leave():
            self.scheduler.want_pump()

    def next_due(self) -> float | None:
        """When run() is to be called next; None while paused."""
        if self.scheduler.paused:
            return None
        dues = [self._next_sweep]
        wake = self.scheduler.next_due()
        if wake is not None:
            dues.append(wake)
        fresh, deferred = self._active.may_start(), self._active.may_retry()
        self._starved = bool(not (fresh and deferred) or self._waiting.large)
        waiting = self._waiting.next_due(fresh, deferred)
        if waiting is not None:
            dues.append(max(waiting, self._next_refill))
        if self._site_scans:
            dues.append(self._next_refill)
        return min(dues)

    def run(self, now: float) -> None:
        if self.scheduler.paused:
            return
        self.scheduler.run(now)
        if now >= self._next_refill:
            self._scan_sites(now)
            self._refill(now)
        if now >= self._next_sweep:
            self._next_sweep = now + self._settings.queue_run_delay
            self._sweep(now)
        self._serve()

    def _refill(self, now: float) -> None:
        """Moves what is due into the active queue, as fast as the ramp allows."""
        for _ in range(ACTIVATED_A_RUN):
            taken = self._waiting.take(now, self._active.may_start(), self._active.may_retry())
            if taken is None:
                return
            self._activate_stored(*taken)
        self._next_refill = now + ACTIVATED_A_RUN / self._ramp.rate(now)

    def _activate_parked(self, entry: Any) -> None:
        source = Source.DEFERRED if entry.tries else Source.INCOMING
        self._activate_stored(entry, source, unparked=True)

    def _sweep(self, now: float) -> None:
        """Expires what waits for slots or is parked; forgets destinations that have long been idle."""
        settings = self._settings
        lifetime = max(settings.maximal_queue_lifetime, settings.bounce_queue_lifetime)
        for transport in self.scheduler.transports():
            for destination in list(transport.destinations.values()):
                for delivery in destination.refuse_heads(partial(self._is_over, now)):
                    self._refuse(delivery, verdicts.NO_SLOT)
        for entry in self._parking.leave_older_than(now - lifetime):
            self._activate_parked(entry)
        keep = max(settings.minimal_backoff_time, settings.queue_run_delay)
        self.scheduler.forget_idle(now, keep)

    def _is_over(self, now: float, delivery: QueuedDelivery) -> bool:
        """It is too old, and its turn did not come for longer than any message is left alone."""
        message = delivery.message
        if now - message.activated < self._settings.maximal_backoff_time:
            return False
        return now >= self._expiry(message.envelope)

    def _scan_sites(self, now: float) -> None:
        if not self._site_scans:
            return
        domain, entries = self._site_scans[0]
        for entry in entries[-ACTIVATED_A_RUN:]:
            if entry.message_id not in self.active and self._is_for(entry, domain):
                self._schedule(entry, now)
        del entries[-ACTIVATED_A_RUN:]
        if not entries:
            del self._site_scans[0]
        self._next_refill = max(self._next_refill, now + ACTIVATED_A_RUN / self._ramp.rate(now))

    def _is_for(self, entry: Any, domain: bytes) -> bool:
        """One of its recipients that are left is in this domain."""
        if not self._around.is_live(entry):
            return False
        try:
            recipients = self._spool.read_envelope(entry).recipients
        except self._around.unreadable:
            return False
        suffix = b"@" + domain
        return any(recipients[n].address.lower().endswith(suffix) for n in entry.pending_recipients())

    # -- transports ------------------------------------------------------------------------------

    def _transport_settings(self, name: bytes) -> TransportSettings:
        around = self._around
        return read_transport_settings(
            name, self._settings, around.transport_setting, around.process_limit(name), self._warn
        )

    def _warn(self, text: bytes) -> None:
        self._log(b"qmgr", b"warning: " + text)

    def _warn_unavailable(self, transport: bytes) -> None:
        now = self._clock.now()
        if now >= self._warned.get(transport, -math.inf) + self._settings.transport_retry_time:
            self._warned[transport] = now
            self._warn(b"connect to transport private/" + transport + b": No such file or directory")
