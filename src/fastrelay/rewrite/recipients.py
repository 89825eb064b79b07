"""Does a recipient exist? smtpd's table check at RCPT, one table list for each address class.

A recipient that an alias or canonical table rewrites exists whatever its class's table says. A class
with an empty list accepts everybody (Postfix: "specify an empty value to turn off the check").
"""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps, Lookup
from fastrelay.rewrite.resolve import (
    INVALID,
    LOCAL,
    RELAY,
    VIRTUAL_MAILBOX,
    AddressClass,
    Resolution,
    Resolver,
)
from fastrelay.rewrite.settings import ResolveSettings


@dataclass(frozen=True, slots=True)
class RecipientMaps:
    """`rewriting`: the tables whose match makes a recipient known (virtual_alias_maps, canonical maps)."""

    rewriting: tuple[Lookup, ...]
    local_recipient_maps: Lookup
    virtual_mailbox_maps: Lookup
    relay_recipient_maps: Lookup


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why a recipient is refused: `dsn text`; the class picks unknown_<class>_recipient_reject_code.

    `temporary` when transport_maps sends it to retry(8).
    """

    address_class: AddressClass
    dsn: bytes
    text: bytes
    temporary: bool = False


class RecipientCheck:
    def __init__(self, settings: ResolveSettings, resolver: Resolver, maps: RecipientMaps) -> None:
        self._settings = settings
        self._resolver = resolver
        self._rewriting = [AddressMaps(tables) for tables in maps.rewriting if tables.tables]
        self._keys = AddressKeys(
            settings.recipient_delimiter, settings.owner_request_special, settings.myorigin, resolver.is_local
        )
        self._origin = settings.myorigin.encode().lower()
        # written by bounce or absorbed by the queue manager, so they need no mailbox
        self._always_known = {b"postmaster", b"mailer-daemon", settings.double_bounce_sender.encode().lower()}
        self._tables = {
            LOCAL: (AddressMaps(maps.local_recipient_maps), b" in local recipient table"),
            VIRTUAL_MAILBOX: (
                AddressMaps(maps.virtual_mailbox_maps),
                b" in virtual mailbox table",
            ),
            RELAY: (AddressMaps(maps.relay_recipient_maps), b" in relay recipient table"),
        }

    def known(self, address: Address) -> bool:
        return self.problem(address) is None

    def problem(self, address: Address, sender: bytes = b"") -> Unknown | None:
        """Why the recipient is refused, or None. Raises TableError when a table cannot answer."""
        found = self._resolver.examine(address, sender)
        if found.address_class is INVALID:
            return Unknown(found.address_class, b"5.1.3", b"Bad recipient address syntax")
        for maps in self._rewriting:
            if self._matches(maps, found):
                return None
        if found.route.transport in (b"error", b"retry"):
            return self._undeliverable(found)
        return self._check_class(found)

    def _undeliverable(self, found: Resolution) -> Unknown:
        """A next hop of error(8) or retry(8) is `[dsn ]text`."""
        temporary = found.route.transport == b"retry"
        dsn, _, text = found.route.next_hop.partition(b" ")
        if dsn.count(b".") != 2 or dsn[:2] not in (b"4.", b"5.") or not dsn.replace(b".", b"").isdigit():
            dsn, text = b"4.1.1" if temporary else b"5.1.1", found.route.next_hop
        return Unknown(found.address_class, (b"4" if temporary else b"5") + dsn[1:], text, temporary)

    def _check_class(self, found: Resolution) -> Unknown | None:
        maps, table = self._tables.get(found.address_class, (None, b""))
        if not maps:
            return None
        if found.address_class is LOCAL and found.address.local.lower() in self._always_known:
            return None
        if self._matches(maps, found):
            return None
        shown = table if self._settings.show_user_unknown_table_name else b""
        return Unknown(found.address_class, b"5.1.1", b"User unknown" + shown)

    def _matches(self, maps: AddressMaps, found: Resolution) -> bool:
        address = found.address
        is_local = found.address_class is LOCAL or address.domain == self._origin
        return maps.find_address(address, self._keys.user(address.local), is_local) is not None
