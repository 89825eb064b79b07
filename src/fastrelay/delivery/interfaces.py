"""The addresses of this machine, from /proc: what an MX record must not send mail to."""

from __future__ import annotations

import ipaddress
from pathlib import Path

_ROUTES = Path("/proc/net/fib_trie")
_ADDRESSES_6 = Path("/proc/net/if_inet6")


def own_addresses() -> frozenset[str]:
    """IPv4 and IPv6 addresses of all interfaces, in canonical text form; empty where /proc is not mounted."""
    found: set[str] = set()
    if _ROUTES.exists():
        found.update(_local_routes(_ROUTES.read_text(encoding="ascii")))
    if _ADDRESSES_6.exists():
        for line in _ADDRESSES_6.read_text(encoding="ascii").splitlines():
            found.add(str(ipaddress.IPv6Address(int(line.split()[0], 16))))
    return frozenset(found)


def _local_routes(text: str) -> set[str]:
    """In a trie, `|-- 192.0.2.1` is followed by `/32 host LOCAL` when the address is ours."""
    found = set()
    leaf = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            found.add(leaf)
    return found
