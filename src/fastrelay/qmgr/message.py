"""A message in the active queue and its deliveries, as the queue manager keeps them.

Made at activation, gone at the end of the pass; what outlives the pass is the queue's Entry alone.
Invariant: pending counts deliveries not yet reported, in_flight those that an agent has taken.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastrelay.borders import Content, Delivery, Envelope, Outcome, QueuedMessage

if TYPE_CHECKING:
    from fastrelay.qmgr.destination import Destination


class Fate(enum.Enum):
    """What an operator did to an active message: its deliveries that no agent has are dropped."""

    DELETED = enum.auto()
    HELD = enum.auto()
    AGAIN = enum.auto()  # requeued, or held and released: a new pass when the last delivery is back


class ActiveMessage(QueuedMessage):
    def __init__(
        self,
        entry: Any,
        queue_id: bytes,
        envelope: Envelope,
        content: Content | None,
        load: Callable[[], Content],
        activated: float,
        retried: bool,
    ) -> None:
        self.entry = entry
        self.queue_id = queue_id
        self.envelope = envelope
        self.content = content
        self.load = load
        self.activated = activated
        self.pending = 0
        self.in_flight = 0
        self.retried = retried
        self.total = 0  # recipients of this pass
        self.kept = 0  # bytes of contents that count against the memory limit
        self.failed: list[tuple[int, Outcome]] | None = None
        self.deferred: list[Outcome] | None = None
        self.parked_at: Destination | None = None  # some recipients wait outside the active queue for it
        self.bouncing = False  # waits for settled()
        self.fate: Fate | None = None
        self.next_try = 0.0


class QueuedDelivery(Delivery):
    """A delivery that knows its destination."""

    message: ActiveMessage

    def __init__(
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
