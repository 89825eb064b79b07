"""The worker's end of proxymap: one connection for all tables that are asked through it, and their table type.

Frames both ways are {length of what follows, number of the question, body}; answers come in any order, so a
slow server holds up nobody who asks another. A connection that ends is made anew and its questions are asked
once more; without an answer then, or in time, it is a TableError. master/proxymap.py is the other end.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import Iterator
from typing import cast

from fastrelay.tables.options import Options
from fastrelay.tables.pending import Answer
from fastrelay.tables.remote import RemoteTable, ServerProblem
from fastrelay.tables.table import TableError

FRAME = struct.Struct("!II")  # length of number and body, number
QUESTION = struct.Struct("!BBH")  # keys folded, texts UTF-8, length of the table's name; then name, key
ANSWER = struct.Struct("!Bd")  # what follows, seconds that it may be kept
FOUND, NOT_FOUND, UNAVAILABLE, FAILED = range(4)
WHOLE_KEYS = frozenset({"socketmap", "tcp"})  # types that see no partial keys
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
    """This process's connection to one proxymap; made at the first question, and again when it was lost."""

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
        raise ServerProblem("lost connection to proxymap")

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection.transport is None:
                _, self._connection = await self.loop.create_unix_connection(_Connection, self._path)
            return self._connection

    def close(self) -> None:
        if self._connection.transport is not None:
            self._connection.transport.close()


_clients: dict[str, Client] = {}


def client_of(path: str) -> Client:
    loop = asyncio.get_running_loop()
    client = _clients.get(path)
    if client is None or client.loop is not loop:
        client = _clients[path] = Client(path, loop)
    return client


class ProxymapTable(RemoteTable):
    """proxy:type:name of a table that asks a server. What proxymap knows is kept here no longer than there."""

    type = "proxy"
    keeps_case = True  # the table behind it knows whether to fold

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        self.pattern = name.partition(":")[0] in WHOLE_KEYS
        self._path = how.around.proxymap
        encoded = name.encode(errors="surrogateescape")
        self._question = QUESTION.pack(how.fold, how.utf8, len(encoded)) + encoded
        self._seconds: dict[bytes, float] = {}
        self.timeout += 1.0  # proxymap's own deadline comes first, and says which server it was

    async def fetch(self, key: bytes) -> bytes | None:
        if len(key) > LONGEST // 2:
            return None
        body = await client_of(self._path).ask(self._question + key)
        kind, seconds = ANSWER.unpack_from(body)
        text = body[ANSWER.size :]
        if kind in (UNAVAILABLE, FAILED):
            raise TableError(self.label, text.decode(errors="replace"), unavailable=kind == UNAVAILABLE)
        if len(self._seconds) >= self._lookup_limit:
            self._seconds.clear()  # of answers that were errors in the end
        self._seconds[key] = seconds
        return text if kind == FOUND else None

    def lifetime(self, key: bytes, answer: Answer) -> float:
        return self._seconds.pop(key, 0.0)
