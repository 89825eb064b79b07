"""memcache: a memcached server, with or without a persistent table behind it; memcache_table(5).

A key that memcached has not is looked up in `backup`, and what that has is stored in memcached for `ttl`
seconds. A change is made in the backup first, which says whether it was one. The text protocol is spoken here,
over Stream: aiomcache 0.8.2 hands a connection whose lookup was cancelled to the next key (which then is "not
found", measured), holds whatever length a server announces, and its set() never returns to the loop when the
server hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial

from fastrelay.tables.pending import answer
from fastrelay.tables.query import QueryTable, Source, SourceProblem, Templates
from fastrelay.tables.remote import ServerProblem, reason_of
from fastrelay.tables.stream import (
    BadReply,
    Disconnected,
    Endpoint,
    Pool,
    Stream,
    open_stream,
    parse_endpoint,
)
from fastrelay.tables.table import Table, TableError
from fastrelay.tables.text import WHITESPACE, SyntaxProblem
from fastrelay.tables.writer import TableWriter

LONGEST_KEY = 250  # the protocol's
_END = b"END\r\n"


class MemcacheTable(QueryTable):
    type = "memcache"
    writable = True

    def configure(self, source: Source) -> None:
        key_format = source.text("key_format", "%s", required=True)
        self._templates = Templates(source, {"key_format": key_format}, result_format="%s")
        self._endpoint = endpoint_of(source, "memcache", "inet:localhost:11211")
        self._flags = source.number("flags", 0)
        self._ttl = source.number("ttl", 3600)
        self._tries = source.number("max_try", 2, 1)
        self._pause = source.number("retry_pause", 1, 1)
        self._patience = float(source.number("timeout", 2)) or None
        self.timeout = self._tries * ((self._patience or self.timeout) + self._pause)
        self._backup = self._open_backup(source)
        self._backup_name, self._how = source.text("backup"), source.how
        self._writer: TableWriter | None = None
        data_limit = source.number("data_size_limit", 10240, 1)
        line_limit = source.number("line_size_limit", 1024, 1)
        framing = partial(reply_length, data_limit=data_limit, line_limit=line_limit)
        self._limit = data_limit + line_limit + len(_END) + 4
        self._pool: Pool[Stream] = Pool(
            lambda: open_stream(self._endpoint, framing, self._limit), self.connection_limit
        )

    async def fetch(self, key: bytes) -> bytes | None:
        spoken = await self._spoken(key)
        if spoken is None:
            return None
        try:
            value = await self._get(spoken)
        except (OSError, ServerProblem, TimeoutError) as error:
            if self._backup is None:
                raise
            self._complain(f"{self.label}: {reason_of(error)}")
            value = None
        if value is not None or self._backup is None:
            return value
        value = await answer(self._backup.get, key)
        if value is not None:
            await self._store(spoken, value)
        return value

    async def store(self, key: bytes, value: bytes, replace: bool) -> bool:
        spoken = await self._spoken(key)
        if spoken is None:
            raise TableError(self.label, "the key is not of this table", unavailable=False)
        if self._backup is None:
            return await self._set(b"set" if replace else b"add", spoken, value)
        if not await self._backup_writer().put(key, value, replace):
            return False
        await self._store(spoken, value)
        return True

    async def remove(self, key: bytes) -> bool:
        spoken = await self._spoken(key)
        if spoken is None:
            return False
        there = False
        if self._backup is not None:
            there = await self._backup_writer().delete(key)
        try:
            deleted = await self._command(b"delete %b\r\n" % spoken, (b"DELETED", b"NOT_FOUND")) == b"DELETED"
        except (OSError, ServerProblem, TimeoutError) as error:
            if self._backup is None:
                raise
            self._complain(f"{self.label}: {reason_of(error)}")
            return there
        return there if self._backup is not None else deleted

    def items(self) -> Iterator[tuple[bytes, bytes]] | AsyncIterator[tuple[bytes, bytes]]:
        """Of the backup; memcached cannot list."""
        if self._backup is None:
            self._complain(f"database {self.label}: first/next support requires backup database")
            return iter(())
        return self._backup.items()

    async def close(self) -> None:
        if self.problem is None:
            self._pool.close()
            if self._writer is not None:
                await self._writer.close()

    async def _spoken(self, key: bytes) -> bytes | None:
        """The key as memcached gets it; None: it cannot have it."""
        spoken = await answer(self._templates.query, "key_format", key, bytes)
        if spoken is None or any(c in WHITESPACE for c in spoken):
            return None
        if len(spoken) > LONGEST_KEY or b"\0" in spoken:
            raise TableError(self.label, "key is too long or has a null byte", unavailable=False)
        return spoken

    async def _get(self, spoken: bytes) -> bytes | None:
        reply = await self._try(b"get %b\r\n" % spoken)
        if reply == _END:
            return None
        line, _, rest = reply.partition(b"\r\n")
        if not line.startswith(b"VALUE %b " % spoken):
            raise BadReply("unexpected memcache server reply", line)
        return rest[: -len(_END) - 2]

    async def _store(self, spoken: bytes, value: bytes) -> None:
        """No lookup fails because this does."""
        try:
            await self._set(b"set", spoken, value)
        except (OSError, ServerProblem, TimeoutError) as error:
            self._complain(f"{self.label}: {reason_of(error)}")

    async def _set(self, verb: bytes, spoken: bytes, value: bytes) -> bool:
        request = b"%b %b %d %d %d\r\n%b\r\n" % (verb, spoken, self._flags, self._ttl, len(value), value)
        replies = (b"STORED",) if verb == b"set" else (b"STORED", b"NOT_STORED")
        return await self._command(request, replies) == b"STORED"

    async def _command(self, request: bytes, replies: tuple[bytes, ...]) -> bytes:
        reply = (await self._try(request)).removesuffix(b"\r\n")
        if reply not in replies:
            raise BadReply("unexpected memcache server reply", reply)
        return reply

    async def _try(self, request: bytes) -> bytes:
        """The reply, asked for several times; a server that accepts no connection is not asked again."""
        for left in reversed(range(self._tries)):
            try:
                async with asyncio.timeout(self._patience):
                    return await self._pool.use(lambda stream: stream.ask(request))
            except (TimeoutError, BadReply, Disconnected) as error:
                if left == 0 and isinstance(error, TimeoutError):
                    raise ServerProblem(f"no answer within {self._patience} seconds") from error
                if left == 0:
                    raise
            await asyncio.sleep(self._pause)
        raise AssertionError("max_try is 1 at least")

    def _open_backup(self, source: Source) -> Table | None:
        from fastrelay.tables.registry import open_table  # the registry opens this type, too

        how, spec = source.how, source.text("backup")
        if not spec:
            return None
        table = open_table(spec, fold=how.fold, utf8=how.utf8, around=how.around)
        if table.problem is not None:
            raise SourceProblem(table.problem)
        return table

    def _backup_writer(self) -> TableWriter:
        from fastrelay.tables.writing import open_writer  # as above

        if self._writer is None:
            how = self._how
            self._writer = open_writer(self._backup_name, fold=how.fold, utf8=how.utf8, around=how.around)
        return self._writer


def endpoint_of(source: Source, parameter: str, default: str) -> Endpoint:
    try:
        return parse_endpoint(source.text(parameter, default))
    except SyntaxProblem as error:
        raise SourceProblem(str(error)) from error


def reply_length(buffer: bytearray, data_limit: int, line_limit: int) -> int:
    """A Framing: of a line, or of "VALUE key flags length" with its data and END."""
    end = buffer.find(b"\r\n", 0, line_limit + 2)
    if end < 0:
        if len(buffer) >= line_limit + 2:
            raise BadReply("memcache server reply exceeds line size limit")
        return 0
    line = bytes(buffer[:end])
    if not line.startswith(b"VALUE "):
        return end + 2
    words = line.split(b" ")
    if len(words) < 4 or not words[3].isdigit() or len(words[3]) > 9 or int(words[3]) > data_limit:
        raise BadReply("unexpected memcache server reply", line)
    behind = end + 2 + int(words[3])
    whole = behind + 2 + len(_END)
    if len(buffer) < whole:
        return 0
    if buffer[behind:whole] != b"\r\n" + _END:
        raise BadReply("unexpected memcache server reply", line)
    return whole
