"""local(8), the part that the relay needs: aliases, then the user's Maildir by home_mailbox.

An alias puts one new message with all its addresses into the queue, under a Delivered-To: line that ends
loops; whatever those addresses are, the whole path is taken again. Names are folded to lower case.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastrelay.borders import Content, Delivery, Outcome, QueuedMessage, Report
from fastrelay.delivery.aliases import Alias, parse_alias
from fastrelay.delivery.mailbox_settings import LocalSettings
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
from fastrelay.rewrite.address import canonical_domain
from fastrelay.rewrite.lookup import AddressMaps, Lookup, split_extension
from fastrelay.rewrite.right_hand import NO_CONTROLS
from fastrelay.tables.pending import answer
from fastrelay.tables.table import TableError

Forward = Callable[[QueuedMessage, int, list[bytes], bytes, bytes], Awaitable[bytes | None]]
"""(message, recipient, new addresses, header line to prepend in wire form, owner) -> new queue id, once durable.

`owner`, when there is one, is the new message's sender. None: the new message cannot be made now.
"""


@dataclass(frozen=True, slots=True)
class LocalParts:
    """What the agent works with."""

    alias_maps: Lookup
    mailboxes: Mailboxes
    forward: Forward
    complete: Callable[[Address], Address]  # Rewriter.envelope
    warning: Warn


class LocalAgent(SlotAgent):
    def __init__(self, settings: LocalSettings, parts: LocalParts, report: Report) -> None:
        super().__init__(self._deliver_all, report)
        self._settings = settings
        self._parts = parts
        self._aliases = AddressMaps(parts.alias_maps)
        self._delimiters = settings.recipient_delimiter.encode()

    async def _deliver_all(self, delivery: Delivery) -> list[Outcome]:
        message = delivery.message
        content = content_of(message)
        outcomes = []
        for recipient, address in zip(delivery.recipients, delivery.addresses, strict=True):
            started = time.monotonic()
            result = await self._deliver(message, recipient, address, content)
            outcomes.append(make_outcome(recipient, result, b"local", time.monotonic() - started))
            for text in result.warnings:
                self._parts.warning(text)
        return outcomes

    async def _deliver(
        self, message: QueuedMessage, recipient: int, address: bytes, content: Content
    ) -> Result:
        if was_delivered_to(content, address):
            return Result(b"5.4.6", b"mail forwarding loop for " + address)
        name = from_external(address).local.lower()
        user, _ = split_extension(name, self._delimiters, self._settings.owner_request_special)
        try:
            found = await answer(self._find_alias, name, user, address)
        except TableError as error:
            return Result(
                b"4.3.0", b"alias database unavailable", tuple(t.encode() for t in error.warnings(name))
            )
        if found is None:
            return await self._deliver_mailbox(message, recipient, address, user, content)
        return await self._deliver_alias(message, recipient, address, user, found, content)

    def _find_alias(self, name: bytes, user: bytes, address: bytes) -> Alias | None:
        """user+extension first, then user."""
        for key in dict.fromkeys((name, user)):
            value = self._aliases.find(key)
            if value is not None:
                alias = parse_alias(key, address, value, self._parts.complete)
                alias.owner = self._find_owner(b"owner-" + key)
                return alias
        return None

    def _find_owner(self, name: bytes) -> bytes:
        """expand_owner_alias: who the owner is, or the alias of that name itself."""
        value = self._aliases.find(name)
        if value is None:
            return b""
        owner = value.translate(NO_CONTROLS) if self._settings.expand_owner_alias else name
        local, at, domain = owner.rpartition(b"@")
        if not at:
            return self._parts.complete(Address(owner)).external
        known = canonical_domain(domain)
        return self._parts.complete(Address(local, known)).external if known else b""

    async def _deliver_alias(
        self,
        message: QueuedMessage,
        recipient: int,
        address: bytes,
        user: bytes,
        alias: Alias,
        content: Content,
    ) -> Result:
        if alias.unusable:
            listed = b", ".join(alias.unusable)
            return Result(b"4.3.5", CONFIGURATION_ERROR, (b"alias " + user + b": not supported: " + listed,))
        if alias.to_self:
            result = await self._deliver_mailbox(message, recipient, address, user, content)
            if result.dsn[:1] != b"2" or not alias.addresses:
                return result
        if not alias.addresses:
            return Result(b"5.1.1", b'unknown user: "' + user + b'"')
        header = b"Delivered-To: " + address + b"\r\n" if self._prepends() else b""
        queue_id = await self._parts.forward(message, recipient, alias.addresses, header, alias.owner)
        if queue_id is None:
            return Result(b"4.3.0", b"unable to forward message")
        # RFC 3461 5.2.7.3: what has an owner is a mailing list
        action = b"delivered" if alias.owner else b"expanded"
        return Result(b"2.0.0", b"forwarded as " + queue_id, action=action)

    def _prepends(self) -> bool:
        return "forward" in self._settings.prepend_delivered_header

    async def _deliver_mailbox(
        self, message: QueuedMessage, recipient: int, address: bytes, user: bytes, content: Content
    ) -> Result:
        data = await make_file(message.envelope, recipient, address, content)
        return await self._parts.mailboxes.deliver(Request(Kind.LOCAL, user), data)
