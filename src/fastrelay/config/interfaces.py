"""This machine's addresses with their networks, and the default that they give mynetworks.

Read from the kernel by netlink (RTM_GETADDR, rtnetlink(7)), in the kernel's order, as Postfix does.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_RTM_GETADDR, _RTM_NEWADDR, _NLMSG_DONE, _NLMSG_ERROR = 22, 20, 3, 2
_NLM_F_REQUEST_DUMP = 0x1 | 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_SIOCGIFFLAGS, _IFF_UP = 0x8913, 1
_FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


def own_interfaces(protocols: Sequence[str] = ("all",)) -> list[Interface]:
    """The addresses of the interfaces that are up, IPv4 first."""
    wanted = [name.lower() for name in protocols]
    families = [family for name, family in _FAMILIES.items() if name in wanted or "all" in wanted]
    return [found for family in families for found in _addresses(family)]


def _addresses(family: int) -> Iterator[Interface]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHIIB7x", 24, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0, family))
        while True:
            for kind, payload in _messages(netlink.recv(65536)):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return
                if kind == _RTM_NEWADDR:
                    yield from _interface(family, payload)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each netlink message."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        yield kind, data[at + 16 : at + length]
        at += max(16, (length + 3) & ~3)


def _interface(family: int, payload: bytes) -> Iterator[Interface]:
    """The address of an RTM_NEWADDR message, unless its interface is down."""
    found_family, prefix, _, _, index = struct.unpack_from("=BBBBI", payload)
    at, addresses = 8, dict[int, bytes]()
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        addresses[kind] = payload[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    # on a point-to-point link IFA_ADDRESS is the other end
    raw = addresses.get(_IFA_LOCAL) or addresses.get(_IFA_ADDRESS)
    if found_family == family and raw and _is_up(index):
        yield ipaddress.ip_interface((raw, prefix))


def _is_up(index: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            request = struct.pack("16sH14x", socket.if_indextoname(index).encode(), 0)
            (flags,) = struct.unpack_from("H", fcntl.ioctl(probe, _SIOCGIFFLAGS, request), 16)
        except OSError:
            return False  # gone since it was listed
    return bool(flags & _IFF_UP)


def receiving_interfaces(inet_interfaces: Sequence[str], protocols: Sequence[str]) -> list[Interface]:
    """Those of this machine's addresses that inet_interfaces names."""
    own = own_interfaces(protocols)
    chosen = list[Interface]()
    for word in inet_interfaces:
        if word.lower() == "all":
            chosen += own
        elif word.lower() == "loopback-only":
            chosen += [interface for interface in own if interface.ip.is_loopback]
        else:
            addresses = _resolve(word)
            chosen += [interface for interface in own if str(interface.ip) in addresses]
    return list(dict.fromkeys(chosen))


def _resolve(host: str) -> set[str]:
    """The addresses of a name, or the address itself; none when it is not known now."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[4][0]) for address in found}


def default_networks(style: str, interfaces: Sequence[Interface]) -> str:
    """The value of mynetworks for a mynetworks_style."""
    networks = dict.fromkeys(_network(style, interface) for interface in interfaces)
    return " ".join(
        f"[{network.network_address}]/{network.prefixlen}" if network.version == 6 else str(network)
        for network in networks
    )


def _network(style: str, interface: Interface) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if style == "host":
        return ipaddress.ip_network(interface.ip)
    if style == "class" and interface.version == 4:
        first = int(interface.ip) >> 24
        prefix = 8 if first < 128 else 16 if first < 192 else 24 if first < 224 else 32
        return ipaddress.ip_network((int(interface.ip), prefix), strict=False)
    return interface.network
