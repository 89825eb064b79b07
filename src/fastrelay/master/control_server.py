"""The worker's side of the control protocol; `master.worker` gives it handlers and its control socket.

A long answer never blocks the loop: handlers give iterators, and after every few milliseconds of work the
loop gets its turn. Whoever connects is root or the worker's own user, or is refused (SO_PEERCRED; the
socket's mode says the same). Garbage, floods and slow readers cost their own connection only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

from fastrelay.master.control import MAX_ITEM, MAX_REQUEST, Item, decode, encode

MAX_CLIENTS = 32
REQUEST_TIMEOUT = 10.0
WRITE_TIMEOUT = 60.0
TURN = 0.003  # seconds of answering before mail gets its turn again
CREDENTIALS = struct.Struct("3i")
Items = Iterable[Item] | AsyncIterator[Item]


class ControlHandlers(Protocol):
    """What a worker does for the tools. Every method may also give an async iterator of the same items.

    `ids` None means all; `states` are queue names (incoming, active, deferred, hold). An id that is another
    worker's, or is not there, gives no item.
    """

    def queue(self) -> Items:
        """{id, state, size, arrival, sender, recipients: [{address, reason}]} for each message.

        A message with very many recipients may come as several items in a row with the same id."""

    def flush(self) -> Items:
        """Try all deferred mail now. No items."""

    def flush_id(self, queue_id: str) -> Items:
        """{id} when it is here."""

    def flush_site(self, site: str) -> Items:
        """{id} for each message with a recipient in that domain."""

    def change(self, verb: str, ids: list[str] | None, states: list[str]) -> Items:
        """delete, hold, release, requeue: {id} for each message that it was done to."""

    def cat(self, queue_id: str) -> Items:
        """{state, envelope: {...}} first, then {recipients: [...]} and {content: base64}, each in pieces."""

    def status(self) -> Items:
        """One {worker, pid, ...}."""


class RequestError(Exception):
    """The request makes no sense; str() is sent back."""


class ControlServer:
    def __init__(self, handlers: ControlHandlers, allowed: Iterable[int] = ()) -> None:
        self._handlers = handlers
        self._allowed = {0, os.geteuid(), *allowed}
        self._clients: set[asyncio.Task[Any]] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a socket that master keeps: its file must outlive us."""
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=MAX_REQUEST, backlog=64, **keep
        )

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if not self._permitted(writer):
                await self._say(writer, {"error": "permission denied"})
            elif len(self._clients) > MAX_CLIENTS:
                await self._say(writer, {"error": "too many connections"})
            else:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client has gone or stopped reading: its loss
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _permitted(self, writer: asyncio.StreamWriter) -> bool:
        peer = writer.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(raw)[1] in self._allowed

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readuntil(b"\n"), REQUEST_TIMEOUT)
            items = dispatch(self._handlers, decode(line))
        except asyncio.LimitOverrunError:
            await self._say(writer, {"error": "request too long"})
            return
        except (ValueError, RequestError) as error:
            await self._say(writer, {"error": f"bad request: {error}"})
            return
        await self._stream(writer, items)
        await self._say(writer, {"end": True})

    async def _stream(self, writer: asyncio.StreamWriter, items: Items) -> None:
        if isinstance(items, AsyncIterator):
            async for item in items:
                await self._say(writer, item)
            return
        turn_ends = time.monotonic() + TURN
        for item in items:
            writer.write(_bounded(item))
            if time.monotonic() >= turn_ends:
                await asyncio.wait_for(writer.drain(), WRITE_TIMEOUT)
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + TURN

    async def _say(self, writer: asyncio.StreamWriter, item: Item) -> None:
        writer.write(_bounded(item))
        await asyncio.wait_for(writer.drain(), WRITE_TIMEOUT)


def dispatch(handlers: ControlHandlers, request: Item) -> Items:
    verb = request.get("verb")
    match verb:
        case "queue":
            return handlers.queue()
        case "flush":
            return handlers.flush()
        case "flush_id":
            return handlers.flush_id(_text(request, "id"))
        case "flush_site":
            return handlers.flush_site(_text(request, "site"))
        case "delete" | "expire" | "hold" | "release" | "requeue":
            ids = None if request.get("ids", ...) is None else _texts(request, "ids")
            return handlers.change(verb, ids, _texts(request, "states"))
        case "cat":
            return handlers.cat(_text(request, "id"))
        case "status":
            return handlers.status()
    raise RequestError("unknown verb")


def _bounded(item: Item) -> bytes:
    line = encode(item)
    return line if len(line) <= MAX_ITEM else encode({"error": "item too long"})


def _text(request: Item, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{name}: text wanted")
    return value


def _texts(request: Item, name: str) -> list[str]:
    value = request.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise RequestError(f"{name}: list of texts wanted")
    return value
