"""sqlite: an SQLite database, asked in a thread of its own; the file is only read. sqlite_table(5).

A database file that was replaced is opened anew at the next lookup.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from urllib.parse import quote as quote_path

from fastrelay.tables.listing import PAGE, list_query, required_query, rows_entries, told_as_table_errors
from fastrelay.tables.query import QueryTable, Source, Templates, sql_query
from fastrelay.tables.table import TableError
from fastrelay.tables.threads import Threads

BUSY_SECONDS = 5.0  # how long somebody may hold the file for writing


class SqliteTable(QueryTable):
    type = "sqlite"

    def configure(self, source: Source) -> None:
        self._path = source.text("dbpath", required=True)
        self._templates = Templates(source, {"query": sql_query(source)})
        self._list_query = list_query(source)
        self._thread = Threads(1, "sqlite", self._disconnect)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # the device and inode that are open

    async def fetch(self, key: bytes) -> bytes | None:
        query = self._templates.query("query", key, _quote)
        if query is None:
            return None
        try:
            return self._templates.result(key, await self._thread.run(self._select, query))
        except asyncio.CancelledError:
            if self._connection is not None:
                self._connection.interrupt()
            raise

    def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """What list_query selects."""
        return told_as_table_errors(self.label, self._pages())

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        query = required_query(self.label, self._list_query)
        thread = Threads(1, "sqlite")
        connection = await thread.run(self._open)
        try:
            cursor = await thread.run(connection.execute, query)
            while rows := await thread.run(cursor.fetchmany, PAGE):
                texts = [[self._text(connection, value) for value in row] for row in rows]
                yield rows_entries(self._templates, texts)
        finally:
            await thread.run(connection.close)
            thread.close()

    async def close(self) -> None:
        if self.problem is None:
            self._thread.close()

    def _select(self, query: bytes) -> list[bytes | None]:
        """In the thread: the first column of each row, as text."""
        most = self._templates.most_values
        try:
            connection = self._connect()
            rows = connection.execute(query.decode()).fetchmany(most + 1)
            if len(rows) > most:
                raise TableError(self.label, f"more than {most} values", unavailable=False)
            return [self._text(connection, row[0]) for row in rows]
        except sqlite3.Error as error:
            raise TableError(self.label, f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        try:
            status = os.stat(self._path)
        except OSError:
            self._disconnect()
            raise
        if self._connection is not None and self._file == (status.st_dev, status.st_ino):
            return self._connection
        self._disconnect()
        self._connection, self._file = self._open(), (status.st_dev, status.st_ino)
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote_path(self._path)}?mode=ro",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # for interrupt(); all else happens in the one thread
        )
        connection.text_factory = bytes
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _text(connection: sqlite3.Connection, value: object) -> bytes | None:
        """As sqlite3_column_text() shows it, a C string."""
        if isinstance(value, float):
            value = connection.execute("SELECT CAST(? AS TEXT)", (value,)).fetchone()[0]
        elif isinstance(value, int):
            value = b"%d" % value
        assert value is None or isinstance(value, bytes)
        return None if value is None else value.partition(b"\0")[0]


def _quote(text: bytes) -> bytes:
    return text.replace(b"'", b"''")
