"""A service on a loopback port inside the test's own loop, and clients that see each line and the close.

Its deadlines follow a clock that stands still until the test lets time pass, so that no test depends on how
busy the machine is; and `caught_up` tells that what clients have sent has been taken in.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import socket
import struct
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from unittest.mock import patch

import uvloop

from fastrelay.smtpd import service
from fastrelay.tcp._poller import Poller
from fastrelay.tcp._stream import Listener
from support.receive_lab import ReceiveLab
from support.relay import PATIENCE

HELLO = b"EHLO client.example\r\n"


def run(test: Callable[[], Awaitable[None]]) -> None:
    """A test as a coroutine on uvloop, as the worker has it; an exception that nobody took fails it."""
    unhandled: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unhandled.append(context))
        await asyncio.wait_for(test(), 3 * PATIENCE)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(watched())
    assert not unhandled, unhandled


class Live(ReceiveLab):
    """`async with serving(...) as live`: the service, its port and its sweeps."""

    port = 0
    clock = 1000.0
    clients: list[Client]

    def pass_time(self, seconds: float) -> None:
        """What the service does after so many seconds."""
        self.clock += seconds
        self.service.sweep()

    async def client(self, **options: Any) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        client = Client(reader, writer)
        self.clients.append(client)
        return client

    async def caught_up(self) -> None:
        """Until the service has read all that was sent to it, or does not want to."""
        await self.eventually(lambda: not any(client.has_unsent for client in self.clients))
        await self.eventually(lambda: not any(map(has_unread, self.service._connections)))
        for _ in range(20):
            await asyncio.sleep(0)  # and has answered it, or seen the end

    async def eventually(self, look: Callable[[], object]) -> None:
        """Until `look` returns something true."""
        end = time.monotonic() + PATIENCE
        while not look():
            assert time.monotonic() < end, f"it does not come true; the log: {self.log}"
            await asyncio.sleep(0.002)

    async def greeted(self, hello: bytes = HELLO) -> Client:
        client = await self.client()
        assert (await client.reply()).startswith(b"220 ")
        assert (await client.say(hello)).startswith(b"250")
        return client

    async def until(self, pattern: str, count: int = 1) -> list[str]:
        """Lines of the log that match, as soon as there are so many."""
        end = time.monotonic() + PATIENCE
        while True:
            found = [line for line in map(bytes.decode, self.log) if re.fullmatch(pattern, line)]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{pattern!r} is not in {self.log}"
            await asyncio.sleep(0.01)


def waiting_bytes(sock: Any, request: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), request, bytes(4)))[0])


def unsent_bytes(sock: Any) -> int:
    """What the other side's kernel has not got yet."""
    return waiting_bytes(sock, termios.TIOCOUTQ)


def has_unread(connection: Any) -> bool:
    """Would the service still read something of it?"""
    transport = connection._transport
    return bool(transport.is_reading() and transport.unread())


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def has_unsent(self) -> bool:
        transport: Any = self.writer.transport
        if transport.is_closing():
            return False
        return bool(transport.get_write_buffer_size() or unsent_bytes(self.writer.get_extra_info("socket")))

    @property
    def is_quiet(self) -> bool:
        """Nothing has come that was not read."""
        return not self.reader._buffer and not self.reader.at_eof()  # type: ignore[attr-defined]

    async def reply(self, patience: float = PATIENCE) -> bytes:
        """A whole reply; b"" when the connection is closed."""
        lines = []
        while True:
            line = await asyncio.wait_for(self.reader.readline(), patience)
            lines.append(line)
            if line[3:4] != b"-":
                return b"".join(lines)

    async def say(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await self.reply()

    async def begin(self, recipients: int = 1) -> None:
        assert await self.say(b"MAIL FROM:<a@sender.example>\r\n") == b"250 2.1.0 Ok\r\n"
        for number in range(recipients):
            assert await self.say(b"RCPT TO:<u%d@relay.example>\r\n" % number) == b"250 2.1.5 Ok\r\n"

    async def is_closed(self, patience: float = PATIENCE) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(1), patience) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Go without a goodbye: RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(main: dict[str, str] | None = None, sweep: float = 0.05) -> AsyncIterator[Live]:
    loop = asyncio.get_running_loop()
    live = Live(main, loop)
    live.clients = []
    poller, listening = Poller(loop), socket.create_server(("127.0.0.1", 0), backlog=100)
    live.port = listening.getsockname()[1]
    listener = Listener(poller, listening, live.service.factory)

    async def sweeps() -> None:
        while True:
            await asyncio.sleep(sweep)
            live.service.sweep()

    def monotonic() -> float:
        return live.clock

    sweeping = loop.create_task(sweeps())
    try:
        with patch.object(service, "monotonic", monotonic):
            live.service.sweep()
            yield live
    finally:
        sweeping.cancel()
        listener.close()
        live.service.shut_down()
        live.release()
        await asyncio.sleep(0.02)
        poller.close()
        live.names.close()
