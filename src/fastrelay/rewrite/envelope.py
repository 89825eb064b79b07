"""The envelope that is stored: mapped sender, mapped and expanded recipients, and those added blind.

cleanup's order (cleanup_envelope.c, cleanup_addr.c, cleanup_out_recipient.c): the sender, whoever
sender_bcc_maps adds for it, each recipient with whoever recipient_bcc_maps adds for it, always_bcc last.
smtpd asks at the end of data, the worker for mail that is made here. Duplicates stay in: the caller's
duplicate filter removes them. A pure evaluation: it may be run again from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrelay.borders import Notify, Recipient
from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.address import Rewriter
from fastrelay.rewrite.canonical import OneToOne
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps, Lookup
from fastrelay.rewrite.mapping import MappingFailed, Trouble, Warnings, Where, fold
from fastrelay.rewrite.right_hand import complete
from fastrelay.rewrite.settings import EnvelopeSettings
from fastrelay.rewrite.virtual import VirtualAliases


@dataclass(frozen=True, slots=True)
class Mapped:
    sender: Address
    recipients: list[Recipient]
    warnings: Warnings
    expanded: list[Recipient]  # aliases of which NOTIFY=SUCCESS wants to be told


@dataclass(frozen=True, slots=True)
class EnvelopeParts:
    """`unavailable`: what tables raise when they cannot answer."""

    one_to_one: OneToOne
    aliases: VirtualAliases
    sender_bcc_maps: Lookup
    recipient_bcc_maps: Lookup
    keys: AddressKeys
    unavailable: type[Exception]


class EnvelopeMapping:
    """False when nothing is configured: then nobody need ask."""

    def __init__(self, settings: EnvelopeSettings, parts: EnvelopeParts) -> None:
        self._settings = settings
        self._parts = parts
        self._rewriter = Rewriter(settings)
        self._bounce_sender = b"mailer-daemon@" + settings.myorigin.encode().lower()
        empty = settings.empty_address_recipient
        self._empty_address = self._read(
            (empty if "@" in empty else f"{empty}@{settings.myhostname}").encode()
        )
        self._always_bcc = settings.always_bcc.encode()
        self._bcc_maps = {
            Where.ENVELOPE_SENDER: AddressMaps(parts.sender_bcc_maps),
            Where.ENVELOPE_RECIPIENT: AddressMaps(parts.recipient_bcc_maps),
        }

    @property
    def maps(self) -> bool:
        """Is any address replaced by another?"""
        return bool(self._parts.one_to_one) or bool(self._parts.aliases)

    @property
    def adds(self) -> bool:
        """Is any recipient added?"""
        return bool(self._always_bcc) or any(self._bcc_maps.values())

    def __bool__(self) -> bool:
        return self.maps or self.adds or not self._settings.enable_original_recipient

    def map(self, sender: Address, recipients: Sequence[Recipient], add_bcc: bool) -> Mapped:
        """`add_bcc`: not for mail that is made here. Raises MappingFailed."""
        warnings = Warnings()
        found: list[Recipient] = []
        expanded: list[Recipient] = []
        if sender.external.lower() == self._bounce_sender:
            sender = Address(b"")  # an answer to a bounce by software that knows no <>
        else:
            sender = self._parts.one_to_one.map(sender, Where.ENVELOPE_SENDER, warnings)
        if add_bcc:
            self._add_bcc(found, sender, Where.ENVELOPE_SENDER, warnings)
        for recipient in recipients:
            address = self._add(found, from_external(recipient.address), recipient, warnings, expanded)
            if add_bcc:
                self._add_bcc(found, address, Where.ENVELOPE_RECIPIENT, warnings)
        if add_bcc and self._always_bcc and recipients:
            self._add_blind(found, self._always_bcc, warnings)
        if not self._settings.enable_original_recipient:
            first: dict[bytes, Recipient] = {}
            for recipient in found:
                first.setdefault(fold(recipient.address), recipient)
            found = list(first.values())
        return Mapped(sender, found, warnings, expanded)

    def add_blind(self, found: list[Recipient], value: bytes, warnings: Warnings) -> None:
        """Append what a BCC that a header or body check asks for stands for."""
        self._add_blind(found, value, warnings)

    def read(self, value: bytes) -> Address:
        """One address in internal form, completed."""
        return self._read(value)

    def _add(
        self,
        found: list[Recipient],
        address: Address,
        given: Recipient,
        warnings: Warnings,
        told: list[Recipient],
    ) -> Address:
        """Append all that the recipient stands for; the address after the mapping of one to one.

        `told` takes the alias whose expansion the sender wants to hear of.
        """
        address = self._parts.one_to_one.map(address, Where.ENVELOPE_RECIPIENT, warnings)
        members = self._parts.aliases.expand(address, warnings)
        original, notify = given.original or address.external, given.notify
        if notify & Notify.SUCCESS and (len(members) > 1 or members[0] != address):
            # RFC 3461 5.2.7.2: delivery to a list is the end of what SUCCESS asks about
            told.append(Recipient(address.external, original, given.orcpt, notify))
            notify = int(notify & ~Notify.SUCCESS or Notify.NEVER)
        for one in members:
            one = self._empty_address if one.is_null else one
            found.append(Recipient(one.external, original, given.orcpt, notify))
        return address

    def _add_bcc(self, found: list[Recipient], address: Address, where: Where, warnings: Warnings) -> None:
        """sender_bcc_maps, recipient_bcc_maps."""
        maps = self._bcc_maps[where]
        if not maps or address.is_null:
            return
        try:
            value = self._parts.keys.find(maps, address)
        except self._parts.unavailable as error:
            title = b"sender_bcc_maps" if where is Where.ENVELOPE_SENDER else b"recipient_bcc_maps"
            warnings.add(title + b" map lookup problem -- message not accepted, try again later")
            raise MappingFailed(Trouble.LOOKUP, warnings, error, address.external) from error
        if value is not None:
            self._add_blind(found, value, warnings)

    def _add_blind(self, found: list[Recipient], value: bytes, warnings: Warnings) -> None:
        """It is mapped as others are, adds nobody itself, and no notice tells the sender of it."""
        self._add(found, self._read(value), Recipient(b"", notify=Notify.NEVER), warnings, [])

    def _read(self, value: bytes) -> Address:
        """One address in internal form, completed."""
        local, at, domain = value.rpartition(b"@")
        return complete(local, domain, self._settings) if at else self._rewriter.envelope(Address(domain))
