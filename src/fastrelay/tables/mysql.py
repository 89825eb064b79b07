"""mysql: a MySQL or MariaDB server, asked with asyncmy. mysql_table(5).

Rows come in the server's text form. localhost stands for the server's usual socket, as with MySQL's library.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

import asyncmy
from asyncmy import errors
from asyncmy.cursors import SSCursor

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
from fastrelay.tables.remote import reason_of
from fastrelay.tables.stream import Disconnected, Pool
from fastrelay.tables.table import TableError

SOCKET = "/run/mysqld/mysqld.sock"
PORT = 3306
LEAST_BROKEN = 2000  # from here on errors are the client's own: the connection has gone
SHUTDOWN = frozenset({1053, 1077, 1079, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927})  # of the server


class _Connection:
    """An asyncmy connection as the pool wants it."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @property
    def usable(self) -> bool:
        return bool(self.raw.connected)

    def close(self) -> None:
        self.raw.close()


class MysqlTable(QueryTable):
    type = "mysql"

    def configure(self, source: Source) -> None:
        self._hosts = Hosts("mysql", source.text("hosts").replace(",", " ").split(), sockets_first=True)
        self._login: dict[str, Any] = {
            "user": source.text("user") or None,
            "password": source.text("password"),
            "db": source.text("dbname", required=True),
        }
        option_file = source.text("option_file")
        if option_file:
            group = source.text("option_group", "client") or "client"
            self._login |= {"read_default_file": option_file, "read_default_group": group}
        self._templates = Templates(source, {"query": sql_query(source)})
        self._requires_result = source.flag("require_result_set", True)
        self._list_query = list_query(source)
        self._tls = _tls(source)
        self._pool = Pool(self._connect, self.connection_limit)

    async def fetch(self, key: bytes) -> bytes | None:
        if not self._templates.allows(key):
            return None
        values = await self._pool.use(lambda connection: self._rows(connection, key))
        return self._templates.result(key, values)

    def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """What list_query selects, row by row as the server sends them."""
        return told_as_table_errors(self.label, self._pages())

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        query = required_query(self.label, self._list_query)
        connection = await self._connect()
        try:
            cursor = connection.raw.cursor(SSCursor)
            await within(self.timeout, cursor.execute(query))
            while rows := await within(self.timeout, cursor.fetchmany(PAGE)):
                yield rows_entries(self._templates, ([_text(value) for value in row] for row in rows))
        except errors.MySQLError as error:
            raise self._told(error) from error
        finally:
            connection.close()

    async def close(self) -> None:
        if self.problem is None:
            self._pool.close()

    async def _rows(self, connection: _Connection, key: bytes) -> list[bytes | None]:
        """Quoting depends on the server's mode, so the query is made when there is a connection."""
        raw = connection.raw

        def quote(text: bytes) -> bytes:
            quoted: str = raw.escape_string(text.decode())
            return quoted.encode()

        query = self._templates.query("query", key, quote)
        if query is None:
            return []
        try:
            async with raw.cursor() as cursor:
                await cursor.execute(query.decode())
                if cursor.description is None:
                    return self._without_result()
                rows = await cursor.fetchall()
        except (errors.MySQLError, OSError, EOFError, RuntimeError) as error:
            raise self._told(error) from error
        return [_text(value) for row in rows for value in row]

    def _without_result(self) -> list[bytes | None]:
        if self._requires_result:
            raise TableError(self.label, "query failed: query returned no result set", unavailable=False)
        return []

    def _told(self, error: Exception) -> Exception:
        code = error.args[0] if isinstance(error, errors.MySQLError) and error.args else LEAST_BROKEN
        if not isinstance(code, int) or code >= LEAST_BROKEN or code in SHUTDOWN:
            return Disconnected(reason_of(error))
        return TableError(self.label, f"query failed: {error.args[-1]}", unavailable=False)

    async def _connect(self) -> _Connection:
        return await self._hosts.connect(self._open, self.timeout)

    async def _open(self, host: Host) -> _Connection:
        endpoint = host.endpoint
        where: dict[str, Any] = {"unix_socket": endpoint.path}
        if endpoint.host == "localhost":
            where = {"unix_socket": SOCKET}
        elif endpoint.host:
            where = {"host": endpoint.host, "port": int(endpoint.port or PORT), "ssl": self._tls}
        raw = await asyncmy.connect(
            **where,
            **self._login,
            charset="utf8mb4",
            use_unicode=False,
            conv={},  # no types: what the server sends is what counts
            autocommit=True,  # or a connection would see the data of its first query for ever
            connect_timeout=self.timeout,
        )
        return _Connection(raw)


def _text(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _tls(source: Source) -> ssl.SSLContext | None:
    """TLS is asked for by naming a certificate, a key or an authority."""
    files = {name: source.text(f"tls_{name}") for name in ("cert_file", "key_file", "CAfile", "CApath")}
    verify = source.flag("tls_verify_cert", False)
    if not any(files.values()):
        return None
    authority = files["CAfile"] or files["CApath"]
    context = ssl.create_default_context(cafile=files["CAfile"] or None, capath=files["CApath"] or None)
    context.check_hostname = verify
    if not verify and not authority:
        context.verify_mode = ssl.CERT_NONE
    if files["cert_file"]:
        context.load_cert_chain(files["cert_file"], files["key_file"] or None)
    return context
