"""smtp_generic_maps: the addresses that a server is told, in the place of ours (generic(5)); smtp_header_checks.

A GenericAgent stands before the SMTP agent where main.cf has such maps or checks, and only there: what it hands
on are copies of deliveries with mapped addresses and contents, and it reports the originals, so that the log and
notices have the addresses that were resolved. A delivery whose addresses have to be waited for is handed on later; its
slot stays open meanwhile. A table that fails defers the mail (Postfix's smtp(8) exits, which does the same).
Invariant: each delivery taken is reported once, each slot released once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastrelay.borders import (
    Agent,
    Content,
    Delivery,
    DestinationQueue,
    Outcome,
    QueuedMessage,
    Report,
    Status,
)
from fastrelay.cleanup.checks import ContentChecks
from fastrelay.delivery.mapped import MappedDelivery
from fastrelay.delivery.sent_contents import SentContents
from fastrelay.delivery.slots import ContentUnreadable, content_of
from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.mapping import AddressTable, MappingFailed, Trouble, Warnings
from fastrelay.tables.pending import ask

Warn = Callable[[bytes], None]
Mapping = tuple[MappedDelivery, Warnings, list[tuple[bool, bytes]]]


class ChecksFailed(MappingFailed):
    """A table of smtp_header_checks or the like cannot answer."""


class GenericMap:
    """One address to another, once; what is not in the maps stays. Used for headers too."""

    def __init__(self, table: AddressTable) -> None:
        self._table = table

    def __bool__(self) -> bool:
        return bool(self._table)

    def map(self, address: Address, warnings: Warnings) -> Address:
        """Raises MappingFailed."""
        if address.is_null:
            return address
        found = self._table.find(address, warnings)
        if found is None:
            return address
        if len(found) > 1:
            text = b"multi-valued %b result for %b"
            warnings.add_bare(text % (self._table.title, address.internal))
        return found[0]

    def external(self, address: bytes, warnings: Warnings) -> bytes:
        """What is not in the maps stays byte for byte: in headers it need not be canonical."""
        given = from_external(address)
        found = self.map(given, warnings)
        return address if found is given else found.external


class GenericAgent:
    """`make_agent` gets the Report that it is to call."""

    def __init__(
        self,
        mapping: GenericMap,
        make_agent: Callable[[Report], Agent],
        report: Report,
        warn: Warn,
        checks: ContentChecks | None = None,
        say: Warn | None = None,
    ) -> None:
        """`checks` are smtp_header_checks and its family; `say` is for the lines of their actions."""
        self._mapping = mapping
        self._warnings = Warnings()  # of the evaluation that is running
        self._contents = SentContents(checks, self._map_in_header if mapping else None)
        self.say = say or warn
        self.report = report
        self.warn = warn
        self.closing = False
        self._agent = make_agent(self._report_original)

    def open_slot(self, queue: DestinationQueue) -> None:
        self.reopen(_Slot(queue, self))

    def reopen(self, slot: _Slot) -> None:
        self._agent.open_slot(slot)

    async def close(self) -> None:
        self.closing = True
        await self._agent.close()

    def _map_in_header(self, address: bytes) -> bytes:
        return self._mapping.external(address, self._warnings) if address else address

    def map(self, delivery: Delivery) -> Mapping:
        """A pure evaluation: it may be run again."""
        warnings = self._warnings = Warnings()
        message = delivery.message
        envelope = message.envelope
        given = delivery.addresses or [envelope.recipients[i].address for i in delivery.recipients]
        addresses = [self._mapping.external(address, warnings) for address in given]
        sender = self._mapping.external(envelope.sender, warnings) if envelope.sender else b""
        content, lines = self._sent_content(message, warnings)
        copy = QueuedMessage(
            message.entry,
            message.queue_id,
            replace(envelope, sender=sender),
            content,
            message.load,
            message.activated,
        )
        return MappedDelivery(delivery, copy, addresses), warnings, lines

    def _sent_content(
        self, message: QueuedMessage, warnings: Warnings
    ) -> tuple[Content | None, list[tuple[bool, bytes]]]:
        try:
            stored = content_of(message)
        except ContentUnreadable:
            return None, []  # the agent will find that out for itself
        content, inspection = self._contents.make(stored, message.queue_id)
        if inspection is None:
            return content, []
        if inspection.failed:
            for _, text in inspection.lines:
                warnings.add_bare(text)
            raise ChecksFailed(Trouble.LOOKUP, warnings)
        return content, inspection.lines

    def _report_original(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        assert isinstance(delivery, MappedDelivery)
        delivery.original.started = delivery.started
        self.report(delivery.original, outcomes)


class _Slot:
    """The scheduler's slot, with mapped deliveries."""

    def __init__(self, queue: DestinationQueue, agent: GenericAgent) -> None:
        self.transport, self.next_hop = queue.transport, queue.next_hop
        self.succeeded, self.failed = queue.succeeded, queue.failed
        self._queue = queue
        self._agent = agent
        self._ready: MappedDelivery | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle = False  # the agent has let go of the slot and the task is to open it again

    def take(self) -> Delivery | None:
        if self._ready is not None:
            ready, self._ready = self._ready, None
            return ready
        while self._task is None and (delivery := self._queue.take()) is not None:
            try:
                answer = ask(self._agent.map, delivery)
            except MappingFailed as failure:
                self._defer(delivery, failure)
                continue
            if isinstance(answer, tuple):
                return self._mapped(*answer)
            self._task = asyncio.get_running_loop().create_task(self._wait(delivery, answer))
            self._task.add_done_callback(_check)
        return None

    def release(self) -> None:
        if self._task is not None:
            self._idle = True
        elif self._ready is not None and not self._agent.closing:
            self._agent.reopen(self)
        else:
            if self._ready is not None:
                self._put_off(self._ready.original, b"delivery agent stopped")
                self._ready = None
            self._queue.release()

    async def _wait(self, delivery: Delivery, answer: Awaitable[Mapping]) -> None:
        try:
            self._ready = self._mapped(*await answer)
        except MappingFailed as failure:
            self._defer(delivery, failure)
        self._task = None
        if self._idle:
            self._idle = False
            if self._agent.closing:
                self.release()
            else:
                self._agent.reopen(self)

    def _mapped(
        self, delivery: MappedDelivery, warnings: Warnings, lines: list[tuple[bool, bytes]]
    ) -> MappedDelivery:
        for text in warnings.lines(b""):
            self._agent.warn(text)
        for is_warning, text in lines:
            (self._agent.warn if is_warning else self._agent.say)(text)
        return delivery

    def _defer(self, delivery: Delivery, failure: MappingFailed) -> None:
        for text in failure.lines(delivery.message.queue_id):
            self._agent.warn(text)
        is_check = isinstance(failure, ChecksFailed)
        self._put_off(
            delivery, b"smtp header checks lookup error" if is_check else b"smtp_generic_maps lookup error"
        )

    def _put_off(self, delivery: Delivery, text: bytes) -> None:
        outcomes = [Outcome(i, Status.DEFERRED, b"4.3.0", text) for i in delivery.recipients]
        self._agent.report(delivery, outcomes)


def _check(task: asyncio.Task[None]) -> None:
    """A bug in there ends the worker."""
    if not task.cancelled():
        task.result()
