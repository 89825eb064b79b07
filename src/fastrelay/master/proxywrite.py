"""proxywrite: one process a node that writes to `proxy:` tables, so that each table has one writer.

master forks it when proxy_write_maps names a table, and binds its socket before, so that a restart or a reload
loses no question. It gives up all rights, and touches no table that proxy_write_maps does not name. An answer
goes out when what it tells of is durable, so the process may be killed at any moment. proxymap(8).
"""

from __future__ import annotations

import socket

from fastrelay.config import Config, section
from fastrelay.master import frame_session
from fastrelay.master.birth import Log
from fastrelay.master.frame_session import Reply
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import TableError
from fastrelay.tables.frames import FrameError
from fastrelay.tables.options import Surroundings, TableSettings
from fastrelay.tables.proxy import approved
from fastrelay.tables.proxywrite import REQUEST, Kind, Operation, pack_entries
from fastrelay.tables.writer import TableWriter
from fastrelay.tables.writing import approved_name, open_writer

SERVICE = b"proxywrite"
LONGEST_REASON = 1000


def is_wanted(config: Config) -> bool:
    """Does the configuration name a table that may be written to?"""
    return bool(approved(section(TableSettings, config).proxy_write_maps))


def serve(listener: socket.socket, config: Config, log: Log) -> None:
    """The process's life, until a signal ends it."""
    frame_session.serve(
        listener, SERVICE, log, lambda complain: Tables(table_surroundings(config, complain)).answer
    )


class Tables:
    """The tables that are open for writing, each by its name and how its keys and texts are."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._tables: dict[tuple[bool, bool, bytes], TableWriter] = {}  # only approved ones
        self._failing: dict[str, str] = {}  # tables by what was told of them last

    def answer(self, body: bytes) -> Reply:
        if len(body) < REQUEST.size:
            raise FrameError("a question without a table")
        number, fold, utf8, name_size, key_size = REQUEST.unpack_from(body)
        if number >= len(Operation) or len(body) < REQUEST.size + name_size + key_size:
            raise FrameError("a question without sense")
        at = REQUEST.size + name_size
        name, key, value = body[REQUEST.size : at], body[at : at + key_size], body[at + key_size :]
        try:
            table = self._table(fold, utf8, name)
        except TableError as error:
            return _failed(error)
        return self._answer(table, Operation(number), key, value)

    def _table(self, fold: bool, utf8: bool, name: bytes) -> TableWriter:
        table = self._tables.get((fold, utf8, name))
        if table is None:
            spec = approved_name(name.decode(errors="surrogateescape"), self._around)
            table = open_writer(spec, fold=fold, utf8=utf8, around=self._around)
            self._tables[fold, utf8, name] = table
        return table

    async def _answer(self, table: TableWriter, operation: Operation, key: bytes, value: bytes) -> bytes:
        try:
            done, text = await _do(table, operation, key, value)
        except TableError as error:
            if error.unavailable:
                self._tell(error)
            return _failed(error)
        self._failing.pop(table.label, None)
        return bytes([Kind.YES if done else Kind.NO]) + text

    def _tell(self, error: TableError) -> None:
        """Once, as long as a table fails for the same reason."""
        if self._failing.get(error.label) != error.reason:
            self._failing[error.label] = error.reason
            self._around.complain(f"{error.label} is unavailable. {error.reason}")


async def _do(table: TableWriter, operation: Operation, key: bytes, value: bytes) -> tuple[bool, bytes]:
    match operation:
        case Operation.GET:
            found = await table.get(key)
            return found is not None, found or b""
        case Operation.PUT | Operation.ADD:
            return await table.put(key, value, replace=operation is Operation.PUT), b""
        case Operation.DELETE:
            return await table.delete(key), b""
        case Operation.PAGE:
            return True, pack_entries(await table.page(key))


def _failed(error: TableError) -> bytes:
    kind = Kind.UNAVAILABLE if error.unavailable else Kind.FAILED
    return bytes([kind]) + error.reason[:LONGEST_REASON].encode("utf-8", "replace")
