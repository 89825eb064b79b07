"""A delivery under other addresses than those that were resolved; generic.py makes it for the SMTP agent."""

from __future__ import annotations

from fastrelay.borders import Delivery, QueuedMessage


class MappedDelivery(Delivery):
    """`original` is what the queue manager gave, and what is to be reported."""

    __slots__ = ("original",)

    def __init__(self, original: Delivery, message: QueuedMessage, addresses: list[bytes]) -> None:
        super().__init__(
            message, original.transport, original.next_hop, original.recipients, addresses, original.started
        )
        self.original = original
