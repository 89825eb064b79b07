"""proxymap: one process a node that asks the servers of all `proxy:` tables, so that workers share them.

master forks it when the configuration names such a table, and binds its socket before, so that a restart
or a reload loses no question. It gives up all rights, answers tables that proxy_read_maps approves and no
other, and has what every remote table has: a pool, a cache, one lookup a key, a deadline. proxymap(8).
"""

from __future__ import annotations

import re
import socket

from fastrelay.config import Config
from fastrelay.master import frame_session
from fastrelay.master.birth import Log
from fastrelay.master.frame_session import Reply
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import Table, TableError, open_table
from fastrelay.tables.frames import LONGEST, FrameError
from fastrelay.tables.options import Surroundings
from fastrelay.tables.pending import Pending, again
from fastrelay.tables.proxy import refusal
from fastrelay.tables.proxymap import ANSWER, FAILED, FOUND, NOT_FOUND, QUESTION, UNAVAILABLE
from fastrelay.tables.registry import asks_a_server
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.surrogate import SurrogateTable
from fastrelay.tables.text import split_list

SERVICE = b"proxymap"
LONGEST_REASON = 1000


def is_wanted(config: Config) -> bool:
    """Does a parameter name a table for it?"""
    return any(asks_a_server(split_list(text[at:])[0]) for text in config.texts() for at in _mentions(text))


def _mentions(text: str) -> list[int]:
    """Where in `text` a proxied table's name begins."""
    return [match.end() for match in re.finditer(r"proxy:(?=[^\s,])", text)]


def serve(listener: socket.socket, config: Config, log: Log) -> None:
    """The process's life, until a signal ends it."""
    frame_session.serve(
        listener, SERVICE, log, lambda complain: Tables(table_surroundings(config, complain)).answer
    )


class Tables:
    """The open tables; a question names one by type, name and how it is opened."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._tables: dict[tuple[bool, bool, bytes], Table] = {}  # only approved ones

    def answer(self, body: bytes) -> Reply:
        if len(body) < QUESTION.size:
            raise FrameError("a question without a table")
        fold, utf8, length = QUESTION.unpack_from(body)
        end = QUESTION.size + length
        table, key = self._table(fold, utf8, body[QUESTION.size : end]), body[end:]
        try:
            return _found(table, key)
        except Pending as pending:
            return _found_later(pending, table, key)

    def _table(self, fold: bool, utf8: bool, name: bytes) -> Table:
        table = self._tables.get((fold, utf8, name))
        if table is None:
            spec = name.decode(errors="surrogateescape")
            if spec not in (self._around.approved or ()):
                return self._refuse(spec)
            table = open_table(spec, fold=fold, utf8=utf8, around=self._around)
            for text in table.warnings:
                self._around.complain(text)
            if table.problem is not None:
                self._around.complain(f"{spec} is unavailable. {table.problem}")
            self._tables[fold, utf8, name] = table
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
        return _failed(error)
    if value is not None and len(value) > LONGEST // 2:
        return ANSWER.pack(FAILED, 0.0) + b"the value is too long"
    seconds = table.seconds_left(key) if isinstance(table, RemoteTable) else 0.0
    return ANSWER.pack(NOT_FOUND if value is None else FOUND, seconds) + (value or b"")


async def _found_later(pending: Pending, table: Table, key: bytes) -> bytes:
    try:
        return await again(pending, _found, table, key)
    except TableError as error:  # it never came to an end
        return _failed(error)


def _failed(error: TableError) -> bytes:
    kind = UNAVAILABLE if error.unavailable else FAILED
    return ANSWER.pack(kind, 0.0) + error.reason[:LONGEST_REASON].encode("utf-8", "replace")
