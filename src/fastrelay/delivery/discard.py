"""discard(8): every recipient is delivered to nowhere, with the next hop as the reason."""

from __future__ import annotations

from fastrelay.borders import Delivery, Outcome, Report, Status
from fastrelay.delivery.dsn_text import split_dsn
from fastrelay.delivery.slots import SlotAgent


class DiscardAgent(SlotAgent):
    def __init__(self, report: Report) -> None:
        super().__init__(self._discard, report)

    async def _discard(self, delivery: Delivery) -> list[Outcome]:
        dsn, text = split_dsn(delivery.next_hop, b"2.0.0")
        return [
            Outcome(recipient, Status.SENT, dsn, text, action=b"delivered")
            for recipient in delivery.recipients
        ]
