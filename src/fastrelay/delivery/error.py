"""error(8) and retry(8): every recipient fails with the next hop as the reason, for good or until the next try."""

from __future__ import annotations

from fastrelay.borders import Delivery, Outcome, Report, Status
from fastrelay.delivery.dsn_text import split_dsn
from fastrelay.delivery.slots import SlotAgent


class ErrorAgent(SlotAgent):
    """`retry` makes it the retry service."""

    def __init__(self, report: Report, retry: bool = False) -> None:
        super().__init__(self._refuse, report)
        self._status = Status.DEFERRED if retry else Status.BOUNCED
        self._default = b"4.0.0" if retry else b"5.0.0"

    async def _refuse(self, delivery: Delivery) -> list[Outcome]:
        dsn, text = split_dsn(delivery.next_hop, self._default)
        return [Outcome(recipient, self._status, dsn, text) for recipient in delivery.recipients]
