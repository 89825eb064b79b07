"""Questions and answers between processes of the node: the frames, and the client's end of a connection.

Frames both ways are {length of what follows, number of the question, body}; answers come in any order, so a
slow one holds up nobody else. A connection that ends is made anew and its questions are asked once more.
proxymap.py and proxywrite.py say what is in the bodies; master/frame_session.py is the other end.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator
from typing import cast

from fastrelay.tables.remote import ServerProblem

FRAME = struct.Struct("!II")  # length of number and body, number
LONGEST = 1 << 20  # bytes of a frame


class FrameError(Exception):
    """What came is no frame."""


def pack(number: int, body: bytes) -> bytes:
    return FRAME.pack(len(body) + 4, number) + body


def unpack(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes the whole frames off the buffer."""
    while len(buffer) >= FRAME.size:
        length, number = FRAME.unpack_from(buffer)
        if not 4 <= length <= LONGEST:
            raise FrameError(f"a frame of {length} bytes")
        if len(buffer) < length + 4:
            return
        yield number, bytes(buffer[FRAME.size : length + 4])
        del buffer[: length + 4]


class _Lost(Exception):
    """The connection ended before the answer."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, body: bytes) -> bytes:
        if self.transport is None:
            raise _Lost
        number = next(self._numbers) & 0xFFFFFFFF
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self.transport.write(pack(number, body))
        try:
            return await future
        finally:
            self._waiting.pop(number, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for number, body in unpack(self._buffer):
                future = self._waiting.get(number)
                if future is not None and not future.done():
                    future.set_result(body)
        except FrameError:
            assert self.transport is not None
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_Lost())


class Client:
    """This process's connection to one service; made at the first question, and again when it was lost."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._path = path
        self._connection = _Connection()
        self._connecting = asyncio.Lock()

    async def ask(self, body: bytes) -> bytes:
        for _ in range(2):
            connection = await self._connected()
            try:
                return await connection.ask(body)
            except _Lost:
                continue
        raise ServerProblem(f"lost connection to {self._path.rpartition('/')[2]}")

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection.transport is None:
                _, self._connection = await self.loop.create_unix_connection(_Connection, self._path)
            return self._connection


_clients: dict[str, Client] = {}


def client_of(path: str) -> Client:
    loop = asyncio.get_running_loop()
    client = _clients.get(path)
    if client is None or client.loop is not loop:
        client = _clients[path] = Client(path, loop)
    return client
