"""redis: a Redis or Valkey server; a type of our own. A key's string is its value.

Parameters, in a file or as name_parameter in main.cf: `redis` (inet:host:port or unix:/path), `key_format`,
`result_format`, `domain`, `expansion_limit` as other tables have them; `hash` (HGET of this hash instead of
GET), `database`, `user`, `password`, `tls`, `tls_ca_cert_file`, `timeout`, `data_size_limit`.
RESP is spoken here, over Stream: redis-py 8.1 held 1 GB of a reply that never ended (4 s, measured).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable
from functools import partial

from fastrelay.tables.listing import told_as_table_errors, within
from fastrelay.tables.memcache import endpoint_of
from fastrelay.tables.pending import answer
from fastrelay.tables.query import QueryTable, Source, SourceProblem, Templates
from fastrelay.tables.redis_list import LARGEST_REPLY, listing_length, pages
from fastrelay.tables.remote import reason_of
from fastrelay.tables.stream import BadReply, Framing, Pool, Stream, open_stream
from fastrelay.tables.table import TableError
from fastrelay.tables.text import printable

LONGEST_LINE = 1024


class RedisTable(QueryTable):
    type = "redis"
    writable = True

    def configure(self, source: Source) -> None:
        key_format = source.text("key_format", "%s", required=True)
        self._templates = Templates(source, {"key_format": key_format})
        self._key_format = key_format
        self._endpoint = endpoint_of(source, "redis", "inet:localhost:6379")
        self._hash = source.text("hash").encode(errors="surrogateescape")
        self._greeting = _greeting(source)
        self._tls = _tls(source) if source.flag("tls", False) else None
        self.timeout = float(source.number("timeout", 5, 1))
        data_limit = source.number("data_size_limit", 102_400, 1)
        framing = partial(reply_length, data_limit=data_limit)
        limit = data_limit + LONGEST_LINE
        self._pool: Pool[Stream] = Pool(partial(self._open, framing, limit), self.connection_limit)

    async def fetch(self, key: bytes) -> bytes | None:
        spoken = await answer(self._templates.query, "key_format", key, bytes)
        if spoken is None:
            return None
        command = [b"HGET", self._hash, spoken] if self._hash else [b"GET", spoken]
        reply = await self._command(command, b"$")
        if reply.startswith(b"$-1"):
            return None
        return self._templates.result(key, [reply[reply.index(b"\n") + 1 : -2]])

    async def store(self, key: bytes, value: bytes, replace: bool) -> bool:
        spoken = await answer(self._templates.query, "key_format", key, bytes)
        if spoken is None:
            raise TableError(self.label, "the key is not of this table", unavailable=False)
        verb, place = ([b"HSET"], [self._hash, spoken]) if self._hash else ([b"SET"], [spoken])
        if replace:
            await self._command([*verb, *place, value], b":" if self._hash else b"+")
            return True
        return await self._command([verb[0] + b"NX", *place, value], b":") != b":0\r\n"

    async def remove(self, key: bytes) -> bool:
        spoken = await answer(self._templates.query, "key_format", key, bytes)
        if spoken is None:
            return False
        command = [b"HDEL", self._hash, spoken] if self._hash else [b"DEL", spoken]
        return await self._command(command, b":") != b":0\r\n"

    def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """By SCAN; see redis_list.py."""
        return told_as_table_errors(self.label, self._pages())

    async def _pages(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        stream = await within(self.timeout, self._open(listing_length, LARGEST_REPLY))

        def ask(words: list[bytes]) -> Awaitable[bytes]:
            return within(self.timeout, stream.ask(spoken_command(words)))

        try:
            async for page in pages(self.label, self._key_format, self._hash, self._templates, ask):
                yield page
        finally:
            stream.close()

    async def close(self) -> None:
        if self.problem is None:
            self._pool.close()

    async def _command(self, words: list[bytes], kind: bytes) -> bytes:
        reply = await self._pool.use(lambda stream: stream.ask(spoken_command(words)))
        if reply[:1] == b"-":  # about this key alone: WRONGTYPE; LOADING and the like pass
            raise TableError(self.label, f"server says: {printable(reply[1:-2])}", unavailable=False)
        if reply[:1] != kind:
            raise BadReply("unexpected redis server reply", reply)
        return reply

    async def _open(self, framing: Framing, limit: int) -> Stream:
        stream = await open_stream(self._endpoint, framing, limit, self._tls)
        try:
            for words in self._greeting:
                reply = await stream.ask(spoken_command(words))
                if reply != b"+OK\r\n":
                    raise BadReply(f"{words[0].decode()} was refused", reply.strip())
        except BaseException:
            stream.close()
            raise
        return stream


def spoken_command(words: list[bytes]) -> bytes:
    """An array of bulk strings."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def reply_length(buffer: bytearray, data_limit: int) -> int:
    """A Framing: of a line, or of a bulk string; GET and DEL have no other replies."""
    end = buffer.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(buffer) >= LONGEST_LINE:
            raise BadReply("malformed reply", buffer)
        return 0
    if buffer[0] in b"+-:" or buffer[:end] == b"$-1":
        return end + 2
    digits = bytes(buffer[1:end])
    if buffer[:1] != b"$" or not digits.isdigit():
        raise BadReply("malformed reply", buffer)
    if len(digits) > 9 or int(digits) > data_limit:
        raise BadReply("reply exceeds size limit")
    whole = end + 2 + int(digits) + 2
    if len(buffer) < whole:
        return 0
    if buffer[whole - 2 : whole] != b"\r\n":
        raise BadReply("malformed reply", buffer)
    return whole


def _greeting(source: Source) -> list[list[bytes]]:
    """What every connection begins with."""
    commands: list[list[bytes]] = []
    user, password = source.text("user"), source.text("password")
    if password:
        words = ["AUTH", user, password] if user else ["AUTH", password]
        commands.append([word.encode(errors="surrogateescape") for word in words])
    database = source.number("database", 0)
    if database:
        commands.append([b"SELECT", b"%d" % database])
    return commands


def _tls(source: Source) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=source.text("tls_ca_cert_file") or None)
    except (OSError, ssl.SSLError) as error:
        raise SourceProblem(f"{source.name}: tls_ca_cert_file: {reason_of(error)}") from error
