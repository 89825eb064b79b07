"""A message's way through its worker: from smtpd to the disk, to the queue manager, and into the mail log.

What is done for every message and knows more than one room; compiled, with C fields in passage.pxd. The
worker makes one. Invariant: `done` is called once for each submit, with None only when the message is durable.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from fastrelay.borders import Content, Delivery, Envelope, Outcome, Status
from fastrelay.log.lines import delivery as delivery_line
from fastrelay.queue.queue_id import encode
from fastrelay.wire.replies import R451_QUEUE_WRITE, R452_STORAGE_FULL

SENT = Status.SENT  # a look at an enumeration costs more than the comparison
STATUS_TEXT = {
    Status.SENT: b"sent",
    Status.DEFERRED: b"deferred",
    Status.BOUNCED: b"bounced",
    Status.EXPIRED: b"expired",
}


class Arrival:
    """A message on its way to the disk; called with its entry when it is durable, with None when it cannot be."""

    def __init__(
        self,
        passage: Passage,
        envelope: Envelope,
        content: Content,
        name: bytes,
        done: Callable[[bytes | None], None],
    ) -> None:
        self._passage = passage
        self._envelope = envelope
        self._content = content
        self._name = name
        self._done = done

    def __call__(self, entry: Any) -> None:
        passage, envelope = self._passage, self._envelope
        if entry is None:
            self._done(R451_QUEUE_WRITE if passage.spool.patience.is_over else R452_STORAGE_FULL)
            return
        self._done(None)
        if not envelope.hold:
            passage.qmgr.accepted(entry, envelope, self._content, self._name)


class Passage:
    """`log_names`: what a transport is called in the log.

    `recorded` is called after each report, but not while `ticking`: Spool.tick() is on its way then.
    """

    def __init__(
        self,
        spool: Any,
        line: Callable[[bytes, bytes], None],
        log_names: dict[bytes, bytes],
        recorded: Callable[[], None],
        long_ids: bool,
    ) -> None:
        self.spool = spool
        self.qmgr: Any = None  # the worker's; it is made with this
        self._line = line
        self._log_names = log_names
        self._recorded = recorded
        self._long_ids = long_ids
        self.ticking = False  # the worker's

    def queue_name(self, message_id: int) -> bytes:
        """The queue id (enable_long_queue_ids)."""
        return encode(message_id, self._long_ids)

    def submit(
        self,
        message_id: int,
        envelope: Envelope,
        content: Content,
        name: bytes,
        done: Callable[[bytes | None], None],
    ) -> None:
        """From smtpd: make it durable, have 250 or a refusal answered by `done`, deliver it."""
        arrival = Arrival(self, envelope, content, name, done)
        self.spool.append(message_id, envelope, content, arrival, envelope.hold)

    def report(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        """From an agent: what became of each recipient."""
        self.qmgr.report(delivery, outcomes)
        if not self.ticking:
            self._recorded()

    def log_outcome(self, delivery: Delivery, outcome: Outcome) -> None:
        message = delivery.message
        recipient = message.envelope.recipients[outcome.recipient]
        at = 0
        if len(delivery.recipients) > 1:  # they are in the envelope's order
            at = bisect_left(delivery.recipients, outcome.recipient)
        activated = message.activated
        started = delivery.started or activated
        text = delivery_line(
            message.queue_id,
            delivery.addresses[at],
            recipient.original,
            outcome.relay,
            0,
            (
                max(0.0, activated - message.envelope.arrival),
                max(0.0, started - activated),
                outcome.setup_delay,
                outcome.transmission_delay,
            ),
            outcome.dsn,
            b"sent" if outcome.status is SENT else STATUS_TEXT[outcome.status],
            outcome.text,
        )
        self._line(self._log_names.get(delivery.transport, delivery.transport), text)
