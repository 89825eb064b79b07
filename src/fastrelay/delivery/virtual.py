"""virtual(8): Maildirs below virtual_mailbox_base, found and owned by table. No aliases, no system users."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fastrelay.borders import Content, Delivery, Outcome, QueuedMessage, Report
from fastrelay.delivery.mailbox_settings import VirtualSettings
from fastrelay.delivery.mailboxes import (
    CONFIGURATION_ERROR,
    Kind,
    Mailboxes,
    Request,
    Result,
    Warn,
    make_outcome,
)
from fastrelay.delivery.message_file import make_file, was_delivered_to
from fastrelay.delivery.slots import SlotAgent, content_of
from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.lookup import AddressMaps, Lookup, split_extension
from fastrelay.tables.pending import answer
from fastrelay.tables.table import TableError


@dataclass(frozen=True, slots=True)
class VirtualParts:
    """What the agent works with."""

    virtual_mailbox_maps: Lookup
    virtual_uid_maps: Lookup
    virtual_gid_maps: Lookup
    mailboxes: Mailboxes
    warning: Warn


class VirtualAgent(SlotAgent):
    def __init__(self, settings: VirtualSettings, parts: VirtualParts, report: Report) -> None:
        super().__init__(self._deliver_all, report)
        self._settings = settings
        self._parts = parts
        self._mailbox_maps = AddressMaps(parts.virtual_mailbox_maps)
        self._uid_maps = AddressMaps(parts.virtual_uid_maps)
        self._gid_maps = AddressMaps(parts.virtual_gid_maps)

    async def _deliver_all(self, delivery: Delivery) -> list[Outcome]:
        message = delivery.message
        content = content_of(message)
        outcomes = []
        for recipient, address in zip(delivery.recipients, delivery.addresses, strict=True):
            started = time.monotonic()
            result = await self._deliver(message, recipient, address, content)
            outcomes.append(make_outcome(recipient, result, b"virtual", time.monotonic() - started))
            for text in result.warnings:
                self._parts.warning(text)
        return outcomes

    async def _deliver(
        self, message: QueuedMessage, recipient: int, address: bytes, content: Content
    ) -> Result:
        if was_delivered_to(content, address):
            return Result(b"5.4.6", b"mail forwarding loop for " + address)
        try:
            request = await answer(self._find_mailbox, from_external(address.lower()))
        except TableError as error:
            warnings = tuple(text.encode() for text in error.warnings(address))
            return Result(b"4.3.5", CONFIGURATION_ERROR, warnings)
        if isinstance(request, Result):
            return request
        data = await make_file(message.envelope, recipient, address, content)
        return await self._parts.mailboxes.deliver(request, data)

    def _find_mailbox(self, address: Address) -> Request | Result:
        path = self._find(self._mailbox_maps, address)
        if path is None:
            return Result(b"5.1.1", b'unknown user: "' + address.external + b'"')
        uid = self._find(self._uid_maps, address)
        gid = self._find(self._gid_maps, address)
        numbers = []
        for name, value, least in (
            (b"virtual_uid_maps", uid, max(self._settings.virtual_minimum_uid, 1)),
            (b"virtual_gid_maps", gid, 1),
        ):
            if value is None or not value.isdigit() or not least <= int(value) < 2**32 - 1:
                said = b"not found in " + name if value is None else b"bad id " + value + b" in " + name
                warning = b"recipient " + address.external + b": " + said
                return Result(b"4.3.5", CONFIGURATION_ERROR, (warning,))
            numbers.append(int(value))
        return Request(Kind.VIRTUAL, path, *numbers)

    def _find(self, maps: AddressMaps, address: Address) -> bytes | None:
        delimiters = self._settings.recipient_delimiter.encode()
        user, _ = split_extension(address.local, delimiters, self._settings.owner_request_special)
        return maps.find_address(address, user, False)
