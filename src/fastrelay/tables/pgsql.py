"""pgsql: a PostgreSQL server, asked with asyncpg. pgsql_table(5).

Values are asked for in the server's text form, as libpq gets them: asyncpg decodes the types it knows, so
each type that a query turns out to have is switched to text, and the query is asked again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from fastrelay.tables.hosts import Host, Hosts
from fastrelay.tables.listing import (
    PAGE,
    list_query,
    required_query,
    rows_entries,
    told_as_table_errors,
    within,
)
from fastrelay.tables.query import QueryTable, Source, Templates, sql_query
from fastrelay.tables.stream import Disconnected, Pool
from fastrelay.tables.table import TableError

BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    OSError,
)


class _Connection:
    """An asyncpg connection as the pool wants it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def usable(self) -> bool:
        return not self.raw.is_closed()

    def close(self) -> None:
        self.raw.terminate()


class PgsqlTable(QueryTable):
    type = "pgsql"

    def configure(self, source: Source) -> None:
        self._hosts = Hosts("pgsql", source.text("hosts").replace(",", " ").split())
        self._login = {
            "user": source.text("user") or None,
            "password": source.text("password") or None,
        }
        in_uri = all(host.startswith("postgres") for host in source.text("hosts").split())
        self._database = source.text("dbname", required=not in_uri) or None
        self._templates = Templates(source, {"query": _query(source)})
        self._list_query = list_query(source)
        self._pool = Pool(self._connect, self.connection_limit)
        self._types: dict[tuple[str, str], None] = {}  # (schema, name), switched to text

    async def fetch(self, key: bytes) -> bytes | None:
        query = self._templates.query("query", key, _quote)
        if query is None:
            return None
        text = query.decode()
        rows = await self._pool.use(lambda connection: self._rows(connection, text))
        return self._templates.result(key, (_text(value) for row in rows for value in row))

    def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """What list_query selects, through a cursor on the server."""
        return told_as_table_errors(self.label, self._pages())

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        query = required_query(self.label, self._list_query)
        connection = await self._connect()
        try:
            await within(self.timeout, self._switch_to_text(connection.raw, query))
            async with connection.raw.transaction(readonly=True):
                cursor = await within(self.timeout, connection.raw.cursor(query))
                while rows := await within(self.timeout, cursor.fetch(PAGE)):
                    yield rows_entries(self._templates, ([_text(value) for value in row] for row in rows))
        finally:
            connection.close()

    async def close(self) -> None:
        if self.problem is None:
            self._pool.close()

    async def _rows(self, connection: _Connection, query: str) -> list[Any]:
        raw = connection.raw
        try:
            rows: list[Any] = await raw.fetch(query)
            if any(not isinstance(value, str | None) for row in rows for value in row):
                await self._switch_to_text(raw, query)
                rows = await raw.fetch(query)
            return rows
        except BROKEN as error:
            raise Disconnected(f"{type(error).__name__}: {error}") from error
        except asyncpg.PostgresError as error:
            raise TableError(self.label, f"query failed: {error}", unavailable=False) from error

    async def _switch_to_text(self, raw: Any, query: str) -> None:
        statement = await raw.prepare(query)
        for column in statement.get_attributes():
            if column.type.kind != "scalar":
                reason = f"column {column.name} of type {column.type.name} must be cast to text in the query"
                raise TableError(self.label, reason, unavailable=False)
            self._types[column.type.schema, column.type.name] = None
        await self._set_types(raw)

    async def _set_types(self, raw: Any) -> None:
        for schema, name in self._types:
            await raw.set_type_codec(name, schema=schema, encoder=str, decoder=str, format="text")

    async def _connect(self) -> _Connection:
        return await self._hosts.connect(self._open, self.timeout)

    async def _open(self, host: Host) -> _Connection:
        endpoint = host.endpoint
        where: dict[str, Any] = {"host": endpoint.path or endpoint.host}
        if endpoint.port:
            where["port"] = int(endpoint.port)
        raw = await asyncpg.connect(
            **({"dsn": host.uri} if host.uri else where),
            **{name: value for name, value in self._login.items() if value is not None},
            database=self._database,
            timeout=self.timeout,
            statement_cache_size=0,  # each key is another statement, and a pooler in between has its own ideas
            server_settings={"standard_conforming_strings": "on", "client_encoding": "UTF8"},
        )
        await self._set_types(raw)
        return _Connection(raw)


def _text(value: str | bytes | None) -> bytes:
    """NULL is empty, as libpq shows it; "char" is bytes to asyncpg."""
    return value if isinstance(value, bytes) else (value or "").encode()


def _query(source: Source) -> str:
    """The obsolete select_function comes before the other obsolete parameters."""
    function = source.text("select_function")
    if function and not source.text("query"):
        return f"SELECT {function}('%s')"
    return sql_query(source)


def _quote(text: bytes) -> bytes:
    """For standard_conforming_strings, which every connection sets; a backslash means nothing then."""
    return text.replace(b"'", b"''")
