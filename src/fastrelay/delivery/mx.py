"""Next hops and mail exchangers: parsing and order (RFC 5321 5.1, smtp_addr.c).

Pure: the resolver asks the DNS and hands over what it found; chance is passed in. A next hop is `host`,
`host:port`, `[host]`, `[host]:port`, `[address]`, `[ipv6:address]`; brackets turn MX look-ups off, and an
address has none.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOST_NAME_LIMIT = 255
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class NextHop:
    host: str
    port: str  # a number or a service's name
    use_mx: bool


@dataclass(frozen=True, slots=True)
class Server:
    """One address to try. `host` is the name that the MX record or the next hop gave."""

    host: str
    address: str
    port: int
    preference: int = 0


def parse_next_hop(next_hop: bytes, default_port: str) -> NextHop:
    """ValueError when it is none."""
    text = next_hop.decode("ascii")
    port = default_port
    bracketed = text.startswith("[")
    if bracketed:
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"bad next hop {text}")
        port = rest[1:] or port
        if host[:5].lower() == "ipv6:":
            host = host[5:]
    else:
        host, _, after = text.partition(":")
        port = after or port
    if not host:
        raise ValueError("empty next hop")
    if not is_address(host) and not is_host_name(host):
        raise ValueError(f"bad host name {host}")
    return NextHop(host.rstrip("."), port, use_mx=not bracketed and not is_address(host))


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_host_name(text: str) -> bool:
    """RFC 1123 labels, with the underscores that exist; never a number, never control characters or `/`."""
    text = text.removesuffix(".")
    labels = text.split(".")
    if not text or len(text) > HOST_NAME_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not labels[-1].isdigit()


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """ValueError names the one that is malformed."""
    return tuple(ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False) for text in texts)


def is_inside(address: str, networks: Iterable[Network]) -> bool:
    """Is it in one of them? An IPv4 address in IPv6 clothes counts as what it reaches."""
    number = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        number = number.ipv4_mapped or number.sixtofour or number
    return any(number in network for network in networks if network.version == number.version)


def order(
    servers: Sequence[Server],
    chance: random.Random,
    *,
    randomize: bool,
    preferred: str,
    limit: int,
    balance: bool,
    avoid: Iterable[tuple[str, int]] = (),
) -> list[Server]:
    """By preference, by chance within one; those that failed a moment ago last; at most `limit` (0: all)."""
    servers = list(servers)
    if randomize:
        chance.shuffle(servers)
    first = {"ipv4": 4, "ipv6": 6}.get(preferred, 0)
    if first:
        servers.sort(key=lambda s: (s.preference, _version(s) != first))
    else:
        servers.sort(key=lambda s: s.preference)
    if avoid:
        servers.sort(key=lambda s: (s.address, s.port) in avoid)
    if limit <= 0 or len(servers) <= limit:
        return servers
    return _balanced(servers, limit) if balance else servers[:limit]


def _balanced(servers: list[Server], limit: int) -> list[Server]:
    """The first `limit`, but not all of one protocol where there are two (smtp_balance_inet_protocols)."""
    chosen = servers[:limit]
    versions = {_version(s) for s in chosen}
    other = next((s for s in servers[limit:] if _version(s) not in versions), None)
    if other is not None and limit > 1:
        chosen[-1] = other
    return chosen


def _version(server: Server) -> int:
    return 6 if ":" in server.address else 4
