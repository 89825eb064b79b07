"""The sockets that workers listen on, bound by master while it may, and kept open by it.

Each service has one SO_REUSEPORT socket a worker: the kernel spreads connections, and those in the
backlog of a worker that died wait for its successor. SO_REUSEPORT would let a second mail system share our
port without a word, so the first socket of an address listens without it, and is kept: of two that start at
the same moment one is refused.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.master.errors import FatalError
from fastrelay.master.unix_path import socket_name

if TYPE_CHECKING:
    from fastrelay.config import Service

BACKLOG = 4096  # the kernel takes the least of this and net.core.somaxconn
Address = tuple[int, str, int]  # family, numeric host, port
WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
LOOPBACKS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def families(inet_protocols: Iterable[str]) -> list[socket.AddressFamily]:
    """inet_protocols as address families; `all` means what this machine has."""
    names = set(inet_protocols) or {"all"}
    unknown = names - {"all", "ipv4", "ipv6"}
    if unknown:
        raise FatalError(f"bad inet_protocols value: {', '.join(sorted(unknown))}: use all, ipv4, ipv6")
    wanted = []
    if names & {"all", "ipv4"}:
        wanted.append(socket.AF_INET)
    if names & {"all", "ipv6"} and has_ipv6():
        wanted.append(socket.AF_INET6)
    if not wanted:
        raise FatalError("inet_protocols: this system has no IPv6")
    return wanted


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def addresses(
    host: str, port: int, interfaces: Iterable[str], allowed: list[socket.AddressFamily]
) -> list[Address]:
    """Where an inet service listens: its own host, or what inet_interfaces says (postconf(5))."""
    names = [host] if host else list(interfaces) or ["all"]
    found: dict[Address, None] = {}
    for name in names:
        name = name.strip("[]")
        if name.lower() == "all" and not host:
            found |= dict.fromkeys((family, WILDCARDS[family], port) for family in allowed)
        elif name.lower() == "loopback-only" and not host:
            found |= dict.fromkeys((family, LOOPBACKS[family], port) for family in allowed)
        else:
            found |= dict.fromkeys(_resolve(name, port, allowed))
    return list(found)


def _resolve(name: str, port: int, allowed: list[socket.AddressFamily]) -> list[Address]:
    try:
        answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bad host name"
        raise FatalError(f"could not resolve host {name}: {reason}") from None
    found: list[Address] = [
        (int(family), str(where[0]), port) for family, _, _, _, where in answers if family in allowed
    ]
    if not found:
        raise FatalError(f"host {name}: no address of the protocols in inet_protocols")
    return found


def bind(address: Address, workers: int) -> list[socket.socket]:
    """One listening socket a worker; 0 workers only asks whether the address is free."""
    first = _bind_one(address, shared=False)
    if not workers:
        first.close()
        return []
    try:
        return [first, *bind_more(address, workers - 1)]
    except FatalError:
        first.close()
        raise


def bind_more(address: Address, count: int) -> list[socket.socket]:
    """Further sockets beside those that we have already."""
    return [_bind_one(address, shared=True) for _ in range(count)]


def _bind_one(address: Address, shared: bool) -> socket.socket:
    """`shared`: beside others of ours. The first one listens alone, and lets others in from then on."""
    family, host, port = address
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise FatalError(f"bind {host} port {port}: {error.strerror}") from None
    return listener


def bind_control(path: Path, take: Callable[[Path], None]) -> socket.socket:
    """A worker's control socket; `take` gives the file to the workers' user."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    try:
        listener.bind(socket_name(path))
    except OSError as error:
        listener.close()
        raise FatalError(f"bind {path}: {error.strerror or error}") from None
    path.chmod(0o600)
    take(path)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def smtpd_services(services: Iterable[Service]) -> list[Service]:
    return [service for service in services if service.type == "inet" and service.command == "smtpd"]
