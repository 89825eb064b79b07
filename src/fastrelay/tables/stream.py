"""What tables that speak to a server over a byte stream share: Endpoint, Stream and Pool.

Stream sends one request and waits for one reply, whose length the type's framing tells; it never holds
more than `limit` bytes of a reply, and what nobody asked for ends it. Pool keeps a few connections of any
kind: one that fails, is cancelled or is left with half a reply is closed and never used again, because its
next reply would be that of another key.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, Protocol, TypeVar, cast

from fastrelay.tables.remote import ServerProblem
from fastrelay.tables.table import TableError
from fastrelay.tables.text import SyntaxProblem, printable

IDLE_SECONDS = 60.0  # a firewall may have forgotten what is idle for longer

Framing = Callable[[bytearray], int]  # length of the reply at the front, 0: more must come; BadReply


class BadReply(ServerProblem):
    """The server does not speak the protocol; str() says how."""

    def __init__(self, reason: str, shown: bytes | bytearray = b"") -> None:
        super().__init__(reason + (f": {printable(bytes(shown[:100]))}" if shown else ""))


class Disconnected(ServerProblem):
    """The connection ended before a reply: no wonder when it had been idle."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens: `host` and `port` (a number or a service's name), or the `path` of a socket."""

    host: str = ""
    port: str = ""
    path: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """inet:host:port, inet:[address]:port or unix:/path; SyntaxProblem."""
    transport, colon, rest = text.partition(":")
    if not colon:
        raise SyntaxProblem(f'need service transport:endpoint instead of "{text}"')
    if transport == "inet":
        return parse_host_port(rest)
    if transport == "unix" and rest:
        return Endpoint(path=rest)
    raise SyntaxProblem(f"invalid transport name: {transport} in service: {text}")


def parse_host_port(text: str) -> Endpoint:
    """host:port, [address]:port, or the port alone: of localhost, as Postfix has it."""
    match = re.fullmatch(r"(?:(?:\[([^]]+)\]|([^:\[\]]+)):)?([\w-]+)", text)
    if match is None or (match[3].isdecimal() and not 0 < int(match[3]) < 65536):
        raise SyntaxProblem(f"{text}: expected host:port or [address]:port")
    return Endpoint(host=match[1] or match[2] or "localhost", port=match[3])


class Stream(asyncio.Protocol):
    """One connection; made by open_stream."""

    def __init__(self, framing: Framing, limit: int) -> None:
        self.transport: asyncio.Transport | None = None
        self._framing = framing
        self._limit = limit
        self._buffer = bytearray()
        self._waiter: asyncio.Future[bytes] | None = None

    @property
    def usable(self) -> bool:
        return self.transport is not None and not self._buffer

    async def ask(self, request: bytes) -> bytes:
        """The reply to `request`; Disconnected, BadReply."""
        if self.transport is None:
            raise Disconnected("lost connection")
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclasses

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            self.close()  # nobody asked
            return
        self._buffer += data
        try:
            length = self._framing(self._buffer)
            if length == 0 and len(self._buffer) > self._limit:
                raise BadReply("reply exceeds size limit")
        except BadReply as error:
            self._waiter.set_exception(error)
            self.close()
            return
        if length:
            self._waiter.set_result(bytes(self._buffer[:length]))
            del self._buffer[:length]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Disconnected("unexpected disconnect"))


async def open_stream(
    endpoint: Endpoint, framing: Framing, limit: int, tls: ssl.SSLContext | None = None
) -> Stream:
    """Connects; OSError."""
    loop = asyncio.get_running_loop()
    if endpoint.path:
        _, stream = await loop.create_unix_connection(lambda: Stream(framing, limit), endpoint.path)
    else:
        port = int(endpoint.port) if endpoint.port.isdecimal() else endpoint.port
        _, stream = await loop.create_connection(
            lambda: Stream(framing, limit),
            endpoint.host,
            port,  # type: ignore[arg-type]  # getaddrinfo knows services' names
            ssl=tls,
        )
    return stream


class Connection(Protocol):
    @property
    def usable(self) -> bool: ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Connection)
Result = TypeVar("Result")


class Pool(Generic[C]):
    """At most `limit` connections that `connect` makes; idle ones are used again."""

    def __init__(self, connect: Callable[[], Awaitable[C]], limit: int) -> None:
        self._connect = connect
        self._free = asyncio.Semaphore(limit)
        self._idle: list[tuple[float, C]] = []  # used last at the end
        self._watched = False

    async def use(self, job: Callable[[C], Awaitable[Result]]) -> Result:
        """job(connection), once more when an idle connection turned out to be dead."""
        async with self._free:
            while (connection := self._take()) is not None:
                try:
                    return await self._run(job, connection)
                except Disconnected:
                    continue
            return await self._run(job, await self._connect())

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def _take(self) -> C | None:
        while self._idle:
            since, connection = self._idle.pop()
            if connection.usable and monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    async def _run(self, job: Callable[[C], Awaitable[Result]], connection: C) -> Result:
        healthy = False
        try:
            result = await job(connection)
            healthy = connection.usable
            return result
        except TableError as error:
            healthy = connection.usable and not error.unavailable
            raise
        finally:
            if healthy:
                self._idle.append((monotonic(), connection))
                self._watch()
            else:
                connection.close()

    def _watch(self) -> None:
        """What nobody uses any more ends, also when the table itself has been replaced."""
        if not self._watched:
            self._watched = True
            asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire)

    def _retire(self) -> None:
        self._watched = False
        while self._idle and monotonic() - self._idle[0][0] >= IDLE_SECONDS:
            self._idle.pop(0)[1].close()
        if self._idle:
            self._watch()
