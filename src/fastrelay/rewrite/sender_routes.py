"""sender_dependent_default_transport_maps and sender_dependent_relayhost_maps: routes by sender address.

resolve.py asks for destinations that are not ours. A table that answers DUNNO ends the search without
taking the place of default_transport or relayhost (postconf(5), trivial-rewrite's resolve_addr).
"""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps, Lookup

DUNNO = b"dunno"


@dataclass(frozen=True, slots=True)
class SenderMap:
    """One of the two parameters; `null_key` is what is looked up for the null sender."""

    maps: AddressMaps
    null_key: Address

    @classmethod
    def make(cls, maps: Lookup, null_key: str) -> SenderMap:
        return cls(AddressMaps(maps), from_external(null_key.encode()))

    def find(self, keys: AddressKeys, sender: bytes) -> str | None:
        """None: what main.cf says for all senders holds."""
        value = keys.find(self.maps, from_external(sender) if sender else self.null_key)
        return None if value is None or value.lower() == DUNNO else value.decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class SenderRoutes:
    default_transport: SenderMap
    relayhost: SenderMap

    def __bool__(self) -> bool:
        return bool(self.default_transport.maps) or bool(self.relayhost.maps)
