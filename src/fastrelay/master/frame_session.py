"""The serving end of tables/frames.py: one connection of a process that asks, and the life of one that answers.

proxymap and proxywrite are two such. What is under way for one connection is bounded: a worker that asks
without reading its answers, or faster than servers and disks can tell, is not read from for a while.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import uvloop

from fastrelay.master.birth import Log
from fastrelay.tables.frames import FrameError, pack, unpack

MOST_WAITING = 10_000  # answers that a connection may wait for
Reply = bytes | Awaitable[bytes]
Answer = Callable[[bytes], Reply]  # a question's body -> the answer's; FrameError when it is none
Complain = Callable[[str], None]


def serve(listener: socket.socket, name: bytes, log: Log, make: Callable[[Complain], Answer]) -> None:
    """The process's life, until a signal ends it; `make` is handed a way to complain."""

    def complain(text: str) -> None:
        log.warning(name, text.encode("utf-8", "replace"))
        log.flush()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(lambda _, context: _unhandled(broken, context, complain))
        answer = make(complain)
        async with await loop.create_unix_server(lambda: FrameSession(answer), sock=listener):
            await broken

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _unhandled(broken: asyncio.Future[None], context: dict[str, Any], complain: Complain) -> None:
    """The network's own errors are told; any other ends the process loudly, and master starts another."""
    error = context.get("exception")
    if isinstance(error, OSError):
        complain(f"{context.get('message', '')}: {error}")
    elif not broken.done():
        broken.set_exception(error or RuntimeError(context.get("message", "")))


class FrameSession(asyncio.Protocol):
    """One process that asks."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unread = False  # it does not read its answers
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for number, body in unpack(self._buffer):
                self._take(number, self._answer(body))
        except FrameError:
            assert self._transport is not None
            self._transport.abort()
        self._read_or_wait()

    def _take(self, number: int, reply: Reply) -> None:
        if isinstance(reply, bytes):
            self._send(number, reply)
            return
        task = asyncio.ensure_future(self._send_later(number, reply))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _send_later(self, number: int, reply: Awaitable[bytes]) -> None:
        self._send(number, await reply)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._read_or_wait()

    def _send(self, number: int, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(pack(number, body))

    def _read_or_wait(self) -> None:
        wanted = not self._unread and len(self._tasks) < MOST_WAITING
        if wanted == self._reading or self._transport is None or self._transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._unread = True
        self._read_or_wait()

    def resume_writing(self) -> None:
        self._unread = False
        self._read_or_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
