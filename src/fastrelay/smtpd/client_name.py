"""The verified name of a client's address, as Postfix's smtpd_peer: PTR, then that name must lead back.

A name that does not is `unknown`. Answers are kept for a while; lookups run in a few threads by the
system's resolver (hosts file, then DNS), so that a slow name server holds up its own clients only.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import cython

if not cython.compiled:  # else those of _clock.pxd
    from time import monotonic

UNKNOWN = b"unknown"
CACHE_LIMIT = 50_000
WAITING_LIMIT = 1000  # lookups under way or in line
KEEP_KNOWN = 300.0  # seconds
KEEP_UNKNOWN = 60.0
NAME_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


class ClientNames:
    def __init__(self, threads: int = 16) -> None:
        self._cache: dict[str, tuple[float, bytes]] = {}
        self._running: dict[str, asyncio.Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(threads, "client-name")

    def known(self, address: str) -> bytes | None:
        """The name, if it is known without waiting."""
        found = self._cache.get(address)
        if found is None:
            return None
        expires, name = found
        return name if expires > monotonic() else None

    async def find(self, address: str) -> bytes:
        """The verified name or `unknown`; one lookup at a time for an address."""
        running = self._running.get(address)
        if running is None and len(self._running) >= WAITING_LIMIT:
            return UNKNOWN  # a slow name server: better nameless than kept waiting
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, look_up, address)
            self._running[address] = running
            running.add_done_callback(lambda done: self._keep(address, done))
        return await asyncio.shield(running)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, address: str, done: asyncio.Future[bytes]) -> None:
        del self._running[address]
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._cache) >= CACHE_LIMIT:
            self._cache.clear()
        name = done.result()
        lifetime = KEEP_UNKNOWN if name == UNKNOWN else KEEP_KNOWN
        self._cache[address] = (monotonic() + lifetime, name)


def look_up(address: str) -> bytes:
    """Blocking: the name that the address has and that has the address."""
    try:
        name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        forward = {info[4][0] for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return UNKNOWN
    text = name.encode("ascii", "replace")
    if address not in forward or not text or len(text) > 255 or not NAME_CHARACTERS.issuperset(text):
        return UNKNOWN
    return text
