"""A queue manager with a recording spool, scripted agents and a clock that stands still until told."""

from __future__ import annotations

import enum
from collections.abc import Coroutine, Sequence
from typing import Any

from fastrelay.borders import Delivery, DestinationQueue, Envelope, Outcome, Recipient, Route, Status
from fastrelay.qmgr.manager import QueueManager
from fastrelay.qmgr.settings import QmgrSettings
from fastrelay.qmgr.surroundings import Surroundings

START = 1_800_000_000.0
FAILED = (Status.BOUNCED, Status.EXPIRED)
DEFAULTS = {
    "qmgr_message_active_limit": 20000,
    "qmgr_message_recipient_limit": 20000,
    "qmgr_message_recipient_minimum": 10,
    "minimal_backoff_time": 300.0,
    "maximal_backoff_time": 4000.0,
    "maximal_queue_lifetime": 432000.0,
    "bounce_queue_lifetime": 432000.0,
    "delay_warning_time": 0.0,
    "confirm_delay_cleared": False,
    "queue_run_delay": 300.0,
    "transport_retry_time": 60.0,
    "defer_transports": (),
    "soft_bounce": False,
    "default_filter_nexthop": "",
    "fastrelay_retry_jitter": 20,
    "fastrelay_content_memory_limit": 1 << 20,
}
TRANSPORT_DEFAULTS = {
    "destination_concurrency_limit": 20,
    "destination_recipient_limit": 50,
    "destination_concurrency_positive_feedback": "1",
    "destination_concurrency_negative_feedback": "1",
    "destination_concurrency_failed_cohort_limit": 1,
    "destination_rate_delay": 0.0,
    "initial_destination_concurrency": 5,
    "delivery_slot_cost": 5,
    "delivery_slot_loan": 3,
    "delivery_slot_discount": 50,
    "minimum_delivery_slots": 3,
}


def make_settings(**changes) -> QmgrSettings:
    return QmgrSettings(**{**DEFAULTS, **changes})


class State(enum.Enum):
    INCOMING = 1
    DEFERRED = 2
    HOLD = 3
    DONE = 4


class Damaged(Exception):
    """What the queue raises for an entry that it has set aside."""


class Entry:
    def __init__(self, message_id: int, envelope: Envelope):
        self.message_id = message_id
        self.size = envelope.size
        self.arrival = envelope.arrival
        self.state = State.INCOMING
        self.next_try = 0.0
        self.tries = 0
        self.verdicts: dict[int, Outcome] = {}
        self.gone: set[int] = set()
        self.count = self.recipients = len(envelope.recipients)
        self.warned = self.forced_expire = False
        self.owes_expansion = bool(envelope.expanded)

    def pending_recipients(self) -> list[int]:
        failed = set(self.failed_recipients())
        return [i for i in range(self.count) if i not in self.gone and i not in failed]

    def is_pending(self, i: int) -> bool:
        verdict = self.verdicts.get(i)
        return i not in self.gone and (verdict is None or verdict.status is Status.DEFERRED)

    def failed_recipients(self) -> list[int]:
        """Bounced, expired, or sent with a notice due."""
        return [
            i for i, o in self.verdicts.items() if (o.status in FAILED or o.notice) and i not in self.gone
        ]


def is_live(entry: Entry) -> bool:
    return entry.state in (State.INCOMING, State.DEFERRED)


class RecordingSpool:
    """The queue's interface, in memory, and strict: what must not be asked of an entry is an error."""

    def __init__(self):
        self.entries: dict[int, Entry] = {}
        self.envelopes: dict[int, Envelope] = {}
        self.reads = 0
        self.damaged: set[int] = set()

    def add(self, envelope: Envelope) -> Entry:
        message_id = len(self.envelopes) + 1
        entry = self.entries[message_id] = Entry(message_id, envelope)
        self.envelopes[message_id] = envelope
        return entry

    def record(self, entry: Entry, outcomes: Sequence[Outcome], next_try: float = 0.0) -> None:
        assert entry.state is not State.DONE
        assert outcomes
        for outcome in outcomes:
            assert entry.is_pending(outcome.recipient)
            entry.verdicts[outcome.recipient] = outcome
            if outcome.status is Status.SENT and not outcome.notice:
                entry.gone.add(outcome.recipient)
            elif outcome.status is Status.DEFERRED:
                assert next_try > 0
        if next_try:
            entry.next_try = next_try
            entry.tries += 1
            if entry.state is State.INCOMING:
                entry.state = State.DEFERRED
        self._done(entry)

    def settle(self, entry: Entry, recipients: Sequence[int]) -> None:
        entry.gone.update(recipients)
        entry.owes_expansion = False
        self._done(entry)

    def _done(self, entry: Entry) -> None:
        if len(entry.gone) == entry.count and not entry.owes_expansion:
            entry.state = State.DONE
            self.entries.pop(entry.message_id, None)

    def expire(self, entry: Entry) -> None:
        entry.forced_expire = True

    def remove(self, entry: Entry) -> None:
        entry.state = State.DONE
        self.entries.pop(entry.message_id, None)

    def hold(self, entry: Entry) -> None:
        entry.state = State.HOLD

    def release(self, entry: Entry) -> None:
        assert entry.state is State.HOLD
        self.requeue(entry)

    def requeue(self, entry: Entry) -> None:
        entry.state = State.INCOMING
        entry.next_try = 0.0

    def read_envelope(self, entry: Entry) -> Envelope:
        assert entry.state is not State.DONE
        self.reads += 1
        if entry.message_id in self.damaged:
            self.remove(entry)
            raise Damaged
        return self.envelopes[entry.message_id]

    def read_content(self, entry: Entry) -> list[bytes]:
        return [b"stored\r\n"]

    def read_notes(self, entry: Entry) -> dict[int, Outcome]:
        return dict(entry.verdicts)


class HandAgent:
    """Opens slots and waits to be told what to do with them."""

    def __init__(self, house: House):
        self.house = house
        self.slots: list[DestinationQueue] = []
        self.taken: list[tuple[DestinationQueue, Delivery]] = []
        self.opened = 0

    def open_slot(self, queue: DestinationQueue) -> None:
        self.slots.append(queue)
        self.opened += 1

    async def close(self) -> None:
        """Nothing is open."""

    def take(self, queue: DestinationQueue) -> Delivery | None:
        delivery = queue.take()
        if delivery is not None:
            self.taken.append((queue, delivery))
        return delivery

    def take_all(self) -> None:
        """Each slot takes one delivery, or closes."""
        for queue in list(self.slots):
            if self.take(queue) is None:
                self.close_slot(queue)

    def close_slot(self, queue: DestinationQueue) -> None:
        self.slots.remove(queue)
        queue.release()

    def end(self, queue: DestinationQueue, delivery: Delivery, status: Status = Status.SENT) -> None:
        self.taken.remove((queue, delivery))
        code, text = {1: (b"2.0.0", b"ok"), 2: (b"4.2.0", b"later"), 3: (b"5.1.1", b"no")}[int(status)]
        self.house.manager.report(delivery, [Outcome(i, status, code, text) for i in delivery.recipients])

    def succeed_all(self) -> None:
        for queue, delivery in list(self.taken):
            queue.succeeded()
            self.end(queue, delivery)

    def fail(self, queue: DestinationQueue, delivery: Delivery, text: bytes = b"connection refused") -> None:
        """What an agent does when it cannot connect."""
        queue.failed(Outcome(0, Status.DEFERRED, b"4.4.1", text))
        self.end(queue, delivery, Status.DEFERRED)


class House:
    """One queue manager and everything around it."""

    def __init__(
        self,
        transport=None,
        process_limit=100,
        spool=None,
        now=START,
        is_live=is_live,
        unreadable=Damaged,
        **settings,
    ):
        self.now = now
        self.spool = spool or RecordingSpool()
        self.lines: list[bytes] = []
        self.outcomes: list[tuple[bytes, Outcome]] = []
        self.notices = []
        self.late: list[list[Outcome] | None] = []
        self.settle_at_once = True
        self.pump_wanted = False
        self.beside: list[Coroutine[Any, Any, None]] = []
        self.randomness = 0.0
        self.broken: set[bytes] = set()
        self.routes: dict[bytes, Route] = {}
        self.agent = HandAgent(self)
        self.values = {**TRANSPORT_DEFAULTS, **(transport or {})}
        self.settings = make_settings(**settings)
        self.manager = QueueManager(
            self.settings,
            Surroundings(
                spool=self.spool,
                resolve=self.resolve,
                unresolvable=LookupError,
                unreadable=unreadable,
                agents={b"smtp": self.agent},
                transport_setting=lambda transport, suffix: self.values[suffix],
                process_limit=lambda transport: process_limit,
                is_live=is_live,
                queue_id=lambda number: b"Q%d" % number,
                log=lambda service, text: self.lines.append(text),
                log_outcome=lambda delivery, outcome: self.outcomes.append(
                    (delivery.addresses[delivery.recipients.index(outcome.recipient)], outcome)
                ),
                bounce=self.bounce,
                schedule_pump=self.want_pump,
                run=self.beside.append,
                clock=lambda: self.now,
                random=lambda: self.randomness,
            ),
        )

    def resolve(self, address: bytes, sender: bytes) -> Route:
        if address in self.broken:
            raise LookupError("table is broken")
        return self.routes.get(address) or Route(b"smtp", address.rpartition(b"@")[2], address)

    def want_pump(self) -> None:
        self.pump_wanted = True

    def bounce(self, message, due, late) -> None:
        self.notices.append((message, due))
        self.late.append(late)
        if self.settle_at_once:
            self.settle(message)

    def settle(self, message) -> None:
        self.spool.settle(message.entry, message.entry.failed_recipients())
        self.manager.settled(message)

    def accept(self, *recipients: bytes, sender: bytes = b"s@x.test", arrival: float | None = None) -> Entry:
        envelope = Envelope(
            sender, [Recipient(r) for r in recipients], self.now if arrival is None else arrival, size=100
        )
        entry = self.spool.add(envelope)
        self.manager.accepted(entry, envelope, [b"in memory\r\n"])
        return entry

    def pump(self) -> None:
        """Until nothing wants a pump."""
        for _ in range(10_000):
            if not self.pump_wanted:
                return
            self.pump_wanted = False
            self.manager.pump()
        raise AssertionError("the queue manager spins")

    def advance(self, seconds: float) -> None:
        """Time passes; every timer that comes due runs at its time."""
        end = self.now + seconds
        for _ in range(100_000):
            self.pump()
            due = self.manager.next_due()
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.manager.run(self.now)
        raise AssertionError("the queue manager's timers spin")

    def deliver_everything(self, rounds: int = 1000) -> None:
        for _ in range(rounds):
            self.pump()
            self.agent.take_all()
            self.agent.succeed_all()
            if not self.agent.slots and not self.pump_wanted:
                return

    @property
    def logged(self) -> str:
        return b"\n".join(self.lines).decode()
