"""proxymap: one process a node that asks the servers of all `proxy:` tables, so that workers share them.

master forks it when the configuration names such a table, and binds its socket before, so that a restart
or a reload loses no question. It gives up all rights, answers tables that proxy_read_maps approves and no
other, and has what every remote table has: a pool, a cache, one lookup a key, a deadline. proxymap(8).
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
from collections.abc import Awaitable
from typing import Any, cast

import uvloop

from fastrelay.config import Config
from fastrelay.master.birth import Log
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import Table, TableError, open_table
from fastrelay.tables.options import Surroundings
from fastrelay.tables.pending import Pending, again
from fastrelay.tables.proxy import refusal
from fastrelay.tables.proxymap import (
    ANSWER,
    FAILED,
    FOUND,
    LONGEST,
    NOT_FOUND,
    QUESTION,
    UNAVAILABLE,
    FrameError,
    pack,
    unpack,
)
from fastrelay.tables.registry import asks_a_server
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.surrogate import SurrogateTable
from fastrelay.tables.text import split_list

SERVICE = b"proxymap"
Reply = bytes | Awaitable[bytes]


def is_wanted(config: Config) -> bool:
    """Does a parameter name a table for it?"""
    return any(asks_a_server(split_list(text[at:])[0]) for text in config.texts() for at in _mentions(text))


def _mentions(text: str) -> list[int]:
    """Where in `text` a proxied table's name begins."""
    return [match.end() for match in re.finditer(r"proxy:(?=[^\s,])", text)]


def serve(listener: socket.socket, config: Config, log: Log) -> None:
    """The process's life, until a signal ends it."""

    def warn(text: str) -> None:
        log.warning(SERVICE, text.encode("utf-8", "replace"))
        log.flush()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_crash)
        tables = Tables(dataclasses.replace(table_surroundings(config, warn), proxymap=""))
        server = await loop.create_unix_server(lambda: Session(tables), sock=listener)
        await server.serve_forever()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody handled ends the process loudly; master starts another."""
    error = context.get("exception")
    if not isinstance(error, OSError):
        loop.default_exception_handler(context)
        loop.stop()


class Tables:
    """The open tables; a question names one by type, name and how it is opened."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._tables: dict[bytes, Table] = {}  # by the question's head, only of approved ones

    def answer(self, body: bytes) -> Reply:
        if len(body) < QUESTION.size:
            raise FrameError("a question without a table")
        end = QUESTION.size + QUESTION.unpack_from(body)[2]
        table, key = self._table(body[:end]), body[end:]
        try:
            return _found(table, key)
        except Pending as pending:
            return again(pending, _found, table, key)

    def _table(self, head: bytes) -> Table:
        table = self._tables.get(head)
        if table is None:
            fold, utf8, _ = QUESTION.unpack_from(head)
            spec = head[QUESTION.size :].decode(errors="surrogateescape")
            if spec not in (self._around.approved or ()):
                return self._refuse(spec)
            table = open_table(spec, fold=bool(fold), utf8=bool(utf8), around=self._around)
            if table.problem is not None:
                self._around.complain(f"{spec} is unavailable. {table.problem}")
            self._tables[head] = table
        return table

    def _refuse(self, spec: str) -> Table:
        for text in refusal(spec, "read-only", "proxy_read_maps"):
            self._around.complain(text)
        return SurrogateTable(f"proxy:{spec}", f'proxymap service is not configured for table "{spec}"')


def _found(table: Table, key: bytes) -> bytes:
    """The reply's body."""
    try:
        value = table.get(key)
    except TableError as error:
        kind = UNAVAILABLE if error.unavailable else FAILED
        return ANSWER.pack(kind, 0.0) + error.reason.encode("utf-8", "replace")
    if value is not None and len(value) > LONGEST // 2:
        return ANSWER.pack(FAILED, 0.0) + b"the value is too long"
    seconds = table.seconds_left(key) if isinstance(table, RemoteTable) else 0.0
    return ANSWER.pack(NOT_FOUND if value is None else FOUND, seconds) + (value or b"")


class Session(asyncio.Protocol):
    """One worker."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for number, body in unpack(self._buffer):
                self._take(number, self._tables.answer(body))
        except FrameError:
            assert self._transport is not None
            self._transport.abort()

    def _take(self, number: int, reply: Reply) -> None:
        if isinstance(reply, bytes):
            self._send(number, reply)
            return
        task = asyncio.ensure_future(self._send_later(number, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_later(self, number: int, reply: Awaitable[bytes]) -> None:
        self._send(number, await reply)

    def _send(self, number: int, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(pack(number, body))

    def pause_writing(self) -> None:
        """A worker that does not read its answers may not ask more."""
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
