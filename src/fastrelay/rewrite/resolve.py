"""Resolve an address to (transport, next hop, recipient), as trivial-rewrite(8) does.

Address class first, then relayhost, then transport_maps. smtpd asks it whether a destination is ours; the
queue manager asks it where to send.

Invariant: relay permission is judged on the most dangerous reading. Our own domains are stripped and what
is left is read again, inside quotes too, until a foreign domain or a plain user is left; any `@ % !` that
then still stands in the local part makes the destination untrusted (reliability 3.4, ADDRESS_CLASS_README).

Lookups raise tables.TableError when they cannot answer; it passes through to the caller (451 or deferral).
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from fastrelay.borders import Route
from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.address import Rewriter, canonical_domain, read_domain, split_routing
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps, Lookup, Matcher, NoTables
from fastrelay.rewrite.sender_routes import SenderMap, SenderRoutes
from fastrelay.rewrite.settings import ResolveSettings

CACHE_LIMIT = 20_000
BAD_ADDRESS = b"5.1.3 bad address syntax"
UNDELIVERABLE = b"Address is undeliverable"
NO_TABLES = NoTables()


class AddressClass(enum.IntEnum):
    """ADDRESS_CLASS_README; INVALID is an address that no domain can be made of."""

    LOCAL = 1
    VIRTUAL_ALIAS = 2
    VIRTUAL_MAILBOX = 3
    RELAY = 4
    DEFAULT = 5
    INVALID = 6


# by name: to look one up in the enumeration costs more than the comparison
LOCAL, VIRTUAL_ALIAS, VIRTUAL_MAILBOX, RELAY, DEFAULT, INVALID = AddressClass
FINAL = frozenset({LOCAL, VIRTUAL_ALIAS, VIRTUAL_MAILBOX})


@dataclass(frozen=True)
class Resolution:
    """Everything found out about one address. `routed`: its local part still holds `@ % !`."""

    route: Route
    address: Address
    address_class: AddressClass
    routed: bool


@dataclass(frozen=True)
class Destination:
    """Of a domain. `by_class`: transport and next hop of its class, which transport_maps may replace."""

    address_class: AddressClass
    by_class: tuple[bytes, bytes]
    transport: bytes
    next_hop: bytes


@dataclass(frozen=True, slots=True)
class ResolveLookups:
    """The lists and tables that resolving asks."""

    mydestination: Matcher
    virtual_alias_domains: Matcher
    virtual_mailbox_domains: Matcher
    relay_domains: Matcher
    transport_maps: Lookup
    own_addresses: Iterable[str] = field(default=())  # of inet_interfaces and proxy_interfaces
    relocated_maps: Lookup = NO_TABLES
    sender_dependent_relayhost_maps: Lookup = NO_TABLES
    sender_dependent_default_transport_maps: Lookup = NO_TABLES

    @property
    def lists(self) -> tuple[Matcher, ...]:
        return (
            self.mydestination,
            self.virtual_alias_domains,
            self.virtual_mailbox_domains,
            self.relay_domains,
        )

    @property
    def maps(self) -> tuple[Lookup, ...]:
        return (
            self.transport_maps,
            self.relocated_maps,
            self.sender_dependent_relayhost_maps,
            self.sender_dependent_default_transport_maps,
        )


class Resolver:
    """`remember`: addresses whose resolution is kept, so that what RCPT found serves delivery too.

    What is kept is gone with the first question after one of the tables has changed (Table.version); a table
    that cannot tell is asked every time.
    """

    def __init__(self, settings: ResolveSettings, lookups: ResolveLookups, remember: int = 0) -> None:
        tables = [table for names in lookups.lists for table in names.tables]
        of_lists = [table for table in tables if not table.constant]
        changing = of_lists + [t for maps in lookups.maps for t in maps.tables if not t.constant]
        self._changing = [table.version for table in changing]
        self._versions = [version() for version in self._changing]
        self._remember = 0 if None in self._versions else remember
        self._recent: dict[bytes, Resolution] = {}
        self._settings = settings
        self._lookups = lookups
        self._rewriter = Rewriter(settings)
        self._own = frozenset(ipaddress.ip_address(a) for a in lookups.own_addresses)
        self._empty_address = from_external(settings.empty_address_recipient.encode() or b"MAILER-DAEMON")
        self._transport_maps = AddressMaps(lookups.transport_maps)
        self._relocated_maps = AddressMaps(lookups.relocated_maps)
        self._sender_routes = SenderRoutes(
            SenderMap.make(
                lookups.sender_dependent_default_transport_maps,
                settings.empty_address_default_transport_maps_lookup_key,
            ),
            SenderMap.make(
                lookups.sender_dependent_relayhost_maps, settings.empty_address_relayhost_maps_lookup_key
            ),
        )
        self._by_sender = bool(self._sender_routes)
        self._keys = AddressKeys(
            settings.recipient_delimiter, settings.owner_request_special, settings.myorigin, self.is_local
        )
        self._cached = None not in self._versions and not self._by_sender
        self._cache: dict[bytes, Destination] = {}
        self._interned: dict[bytes, bytes] = {}
        self._parent_style = "transport_maps" in settings.parent_domain_matches_subdomains

    def resolve(self, address_external: bytes, sender: bytes = b"") -> Route:
        """Where the canonical address goes; `sender` counts where a table asks for it."""
        key = address_external + b"\0" + sender if self._by_sender else address_external
        found = self._recall(key)
        return (found if found is not None else self.examine(from_external(address_external), sender)).route

    def is_authorized_destination(self, address: Address, sender: bytes = b"") -> bool:
        """permit_auth_destination: a destination of ours, with no sender-specified routing behind it."""
        found = self.examine(address, sender)
        if found.routed and not self._settings.allow_untrusted_routing:
            return False
        return found.address_class in FINAL or found.address_class is RELAY

    def examine(self, address: Address, sender: bytes = b"") -> Resolution:
        key = address.external + b"\0" + sender if self._by_sender else address.external
        found = self._recall(key)
        if found is None:
            found = self._examine(address, sender)
            if self._remember:
                if len(self._recent) >= self._remember:
                    self._recent.clear()
                self._recent[key] = found
        return found

    def _recall(self, external: bytes) -> Resolution | None:
        """What was found out before, if the tables are still what they were then."""
        if self._recent or self._cache:
            for i in range(len(self._changing)):
                now = self._changing[i]()
                if now != self._versions[i]:
                    self._versions[i] = now
                    self._recent.clear()
                    self._cache.clear()
        return self._recent.get(external)

    def _examine(self, address: Address, sender: bytes) -> Resolution:
        known = self._cache.get(address.domain)
        if known is None or known.address_class is LOCAL:
            address = self._reduce(address)
            if canonical_domain(address.domain) != address.domain:
                return self._bad(address)
            known = None
        local = address.local
        if not local or local.startswith(b"-"):
            return self._bad(address)
        if known is None:
            known = self._of_domain(address.domain, sender)
        transport, next_hop = known.transport, known.next_hop
        # an unknown alias stays unknown: transport_maps must not make it deliverable
        if self._transport_maps and known.address_class is not VIRTUAL_ALIAS:
            value = self._transport_maps.find_mailbox(address, self._keys.user(local))
            if value is not None:
                transport, next_hop = self._apply_transport(value, address.domain, known.by_class)
        if self._relocated_maps and (moved := self._keys.find(self._relocated_maps, address)) is not None:
            transport, next_hop = b"error", b"5.1.6 User has moved to " + moved
        route = Route(transport, next_hop, address.external)
        return Resolution(route, address, known.address_class, has_routing(local))

    def _bad(self, address: Address) -> Resolution:
        route = Route(b"error", BAD_ADDRESS, address.external)
        return Resolution(route, address, INVALID, routed=True)

    def address_class(self, domain: bytes) -> AddressClass:
        lookups = self._lookups
        if self.is_local(domain):
            return LOCAL
        if not is_folded(domain):
            return DEFAULT
        if lookups.virtual_alias_domains.matches(domain):
            return VIRTUAL_ALIAS
        if lookups.virtual_mailbox_domains.matches(domain):
            return VIRTUAL_MAILBOX
        if lookups.relay_domains.matches(domain):
            return RELAY
        return DEFAULT

    def is_local(self, domain: bytes) -> bool:
        """mydestination, or a literal of one of our own addresses."""
        if not is_folded(domain):
            return False
        if self._lookups.mydestination.matches(domain):
            return True
        return domain[:1] == b"[" and _literal_address(domain) in self._own

    def _reduce(self, address: Address) -> Address:
        """Strip our own domains and read what is left again, until nothing is left to read."""
        ours = b""
        while True:
            if address.domain:
                if not self.is_local(address.domain):
                    return address
                ours = address.domain
            inner = self._crack(address)
            if inner is not None:
                address = self._rewriter.complete_domain(inner)
            elif not address.local:
                address = self._empty_address
            else:
                ours = ours or self._settings.myhostname.encode().lower()
                return Address(address.local, ours)

    def _crack(self, address: Address) -> Address | None:
        """The address inside a local part of ours, or None when it is plain.

        It is `u%d` or `d!u`, and in quotes `u@d` too. Every step takes away an operator or a domain,
        so the caller's loop ends.
        """
        local = address.local
        quoted = Address(local).external[:1] == b'"'
        if quoted and not self._settings.resolve_dequoted_address:
            return None
        if b"@" in local:
            user, _, domain = local.rpartition(b"@")
            return Address(user, read_domain(domain))
        found = split_routing(local, self._settings)
        return Address(*found) if found else None

    def _of_domain(self, domain: bytes, sender: bytes) -> Destination:
        """What is the same for all addresses of a canonical domain; kept while the tables are what they are."""
        found = self._cache.get(domain)
        if found is None:
            address_class, transport, next_hop = self._classify(domain, sender)
            by_class = routed = self._intern(transport), self._intern(next_hop)
            if self._transport_maps and address_class is not VIRTUAL_ALIAS:
                value = self._find_transport(domain)
                if value is not None:
                    routed = self._apply_transport(value, domain, by_class)
            found = Destination(address_class, by_class, *routed)
            if self._cached:
                if len(self._cache) >= CACHE_LIMIT:
                    self._cache.clear()
                self._cache[domain] = found
        return found

    def _classify(self, domain: bytes, sender: bytes) -> tuple[AddressClass, bytes, bytes]:
        """The class's transport and next hop; a `transport:next_hop` in main.cf has the last word."""
        settings = self._settings
        address_class = self.address_class(domain)
        next_hop = domain
        if address_class is VIRTUAL_ALIAS:
            table = b" in virtual alias table" if settings.show_user_unknown_table_name else b""
            return address_class, b"error", b"5.1.1 User unknown" + table
        if address_class is LOCAL:
            transport = settings.local_transport
        elif address_class is VIRTUAL_MAILBOX:
            transport = settings.virtual_transport
        else:
            transport, relayhost = self._find_relay(address_class, sender)
            next_hop = relayhost.encode("utf-8", "surrogateescape") or domain
        name, _, explicit = transport.encode("utf-8", "surrogateescape").partition(b":")
        return address_class, name, explicit or next_hop

    def _find_relay(self, address_class: AddressClass, sender: bytes) -> tuple[str, str]:
        """Transport and relayhost for what is not ours in the end."""
        settings, routes, keys = self._settings, self._sender_routes, self._keys
        is_relay = address_class is RELAY
        transport = settings.relay_transport if is_relay else settings.default_transport
        if not self._by_sender:
            return transport, settings.relayhost
        if not is_relay:
            transport = routes.default_transport.find(keys, sender) or transport
        return transport, routes.relayhost.find(keys, sender) or settings.relayhost

    def _find_transport(self, domain: bytes) -> bytes | None:
        """transport(5), TABLE SEARCH ORDER, after the whole addresses."""
        maps, name = self._transport_maps, domain
        value = None
        while value is None and name:
            value = maps.find_partial(name)
            dot = name.find(b".", 1)
            name = b"" if dot < 0 else name[dot + 1 :] if self._parent_style else name[dot:]
        return value if value is not None else maps.find_partial(b"*")

    def _apply_transport(
        self, value: bytes, domain: bytes, by_class: tuple[bytes, bytes]
    ) -> tuple[bytes, bytes]:
        """transport(5), RESULT FORMAT: what a `value` of transport_maps makes of a class's transport and next hop."""
        name, _, hop = value.partition(b":")
        if not name:
            name, hop = by_class[0], hop or by_class[1]
        elif not hop:
            hop = UNDELIVERABLE if name in (b"error", b"retry") else domain
        return self._intern(name), self._intern(hop)

    def _intern(self, value: bytes) -> bytes:
        """Equal transports and next hops share one object, however many messages name them."""
        known = self._interned.get(value)
        if known is None:
            if len(self._interned) >= CACHE_LIMIT:
                self._interned.clear()
            known = self._interned[value] = value
        return known


def is_folded(domain: bytes) -> bool:
    """Is case folding without effect? Lists fold what they compare, and `\u212a` (Kelvin) folds to `k`.

    A U-label is in lower case (RFC 5891 4.2.1), so what folding would change is no domain of ours.
    """
    return domain.isascii() or domain.decode("utf-8", "replace").casefold().encode() == domain


def has_routing(local: bytes) -> bool:
    """Would some relay read this local part as another address?"""
    for c in local:  # noqa: SIM110 (compiled: a switch a byte; bytes.__contains__ makes and drops exceptions)
        if c in b"@%!":
            return True
    return False


def _literal_address(domain: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in `[1.2.3.4]` or `[IPv6:...]`; None when there is none."""
    text = domain[1:-1].decode("ascii", "replace")
    try:
        return ipaddress.ip_address(text[5:] if text[:5].lower() == "ipv6:" else text)
    except ValueError:
        return None
