"""A message in the active queue and its deliveries, as the queue manager keeps them.

Made at activation, gone at the end of the pass; what outlives the pass is the queue's Entry alone.
Invariant: pending counts deliveries not yet reported, in_flight those that an agent has taken.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from fastrelay.borders import Content, Delivery, Envelope, Notify, Outcome, QueuedMessage, Status

if TYPE_CHECKING:
    from fastrelay.qmgr.destination import Destination

SENT, SUCCESS, DELAY = Status.SENT, int(Notify.SUCCESS), int(Notify.DELAY)


class Fate(enum.Enum):
    """What an operator did to an active message: its deliveries that no agent has are dropped."""

    DELETED = enum.auto()
    HELD = enum.auto()
    AGAIN = enum.auto()  # requeued, or held and released: a new pass when the last delivery is back


def in_memory() -> Content:
    """What loads the contents of a message that has them."""
    raise AssertionError("contents that are in memory are not loaded")


class ActiveMessage(QueuedMessage):
    """Made by __new__ and begin(): a constructor call costs a message more than all that it does."""

    def begin(
        self,
        entry: Any,
        queue_id: bytes,
        envelope: Envelope,
        content: Content | None,
        activated: float,
        retried: bool,
        confirms: bool = False,
    ) -> None:
        """`confirms`: its sender has heard of a delay, and is to hear of its end."""
        self.entry = entry
        self.number = entry.message_id
        self.queue_id = queue_id
        self.envelope = envelope
        self.content = content
        self.load = in_memory
        self.activated = activated
        self.pending = 0
        self.in_flight = 0
        self.retried = retried
        self.confirms = confirms
        self.total = 0  # recipients of this pass
        self.counted = 0  # those that count against the limit of recipients
        self.kept = 0  # bytes of contents that count against the memory limit
        self.due: list[tuple[int, Outcome]] | None = None  # what a notice has to tell when the pass ends
        self.deferred: list[Outcome] | None = None
        self.parked_at: Destination | None = None  # some recipients wait outside the active queue for it
        self.bouncing = False  # waits for settled()
        self.fate: Fate | None = None
        self.next_try = 0.0

    def ends_with(self, outcome: Outcome) -> bool:
        """Is the recipient sent, and nobody to be told so by us? Of NOTIFY=SUCCESS the next hop may tell."""
        if outcome.status is not SENT:
            return False
        recipient = self.envelope.recipients[outcome.recipient]
        notify = recipient.notify
        if not notify:
            return not self.confirms
        return not ((notify & SUCCESS and outcome.action) or (self.confirms and notify & DELAY))

    def tell(self, outcome: Outcome) -> None:
        """Keep it for a notice."""
        if self.due is None:
            self.due = []
        self.due.append((outcome.recipient, outcome))

    def is_late(self, now: float, after: float) -> bool:
        """Is its sender to be told, once, that it is delayed? `after`: delay_warning_time."""
        envelope = self.envelope
        if not after or not envelope.sender or now < envelope.arrival + after:
            return False
        return not self.entry.warned


class QueuedDelivery(Delivery):
    """A delivery that knows its destination; made as an ActiveMessage is."""

    message: ActiveMessage

    def begin(
        self, message: ActiveMessage, destination: Destination, recipients: list[int], addresses: list[bytes]
    ) -> None:
        self.message = message
        self.destination = destination
        self.transport = destination.transport
        self.next_hop = destination.next_hop
        self.recipients = recipients
        self.addresses = addresses
        self.started = 0.0

    def waiting_since(self) -> float:
        return self.message.activated
