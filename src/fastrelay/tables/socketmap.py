"""socketmap:inet:host:port:name and socketmap:unix:path:name: netstrings to a server (socketmap_table(5)).

The request is "name SPACE key", the reply "OK SPACE data", "NOTFOUND SPACE" or one of three kinds of error.
A reply is at most 100,000 bytes, as in Postfix.
"""

from __future__ import annotations

from fastrelay.tables.options import Options
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.stream import BadReply, Pool, Stream, open_stream, parse_endpoint
from fastrelay.tables.table import TableError
from fastrelay.tables.text import SyntaxProblem, printable

LONGEST_REPLY = 100_000
_DIGITS = 9
_FAILURES = {b"TEMP": "temporary", b"TIMEOUT": "timeout", b"PERM": "permanent"}


class SocketmapTable(RemoteTable):
    type = "socketmap"
    keeps_case = True
    pattern = True  # whole keys only, says its manual page

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        self._pool = Pool(self._open, self.connection_limit)
        server, _, self._map = name.rpartition(":")
        try:
            if not server or not self._map:
                raise SyntaxProblem("socketmap requires server:socketmap argument")
            self._endpoint = parse_endpoint(server)
        except SyntaxProblem as error:
            self.problem = str(error)

    async def fetch(self, key: bytes) -> bytes | None:
        request = netstring(self._map.encode(errors="surrogateescape") + b" " + key)
        reply = await self._pool.use(lambda stream: stream.ask(request))
        return self._read(reply[reply.index(b":") + 1 : -1])

    async def close(self) -> None:
        self._pool.close()

    async def _open(self) -> Stream:
        return await open_stream(self._endpoint, netstring_length, LONGEST_REPLY + _DIGITS + 2)

    def _read(self, reply: bytes) -> bytes | None:
        status, space, data = reply.partition(b" ")
        if status == b"OK":
            return data if space else None
        if status == b"NOTFOUND":
            return None
        kind = _FAILURES.get(status, "unknown")
        reason = f"socketmap server {kind} error" + (f": {printable(data)}" if data else "")
        raise TableError(self.label, reason, unavailable=False)


def netstring(text: bytes) -> bytes:
    return b"%d:%b," % (len(text), text)


def netstring_length(buffer: bytearray) -> int:
    """A Framing: of the netstring with its length and comma."""
    colon = buffer.find(b":", 0, _DIGITS + 1)
    if colon < 0:
        if len(buffer) > _DIGITS or not (buffer.isdigit() or not buffer):
            raise BadReply("input format error", buffer)
        return 0
    if not buffer[:colon].isdigit():
        raise BadReply("input format error", buffer)
    length = int(buffer[:colon])
    if length > LONGEST_REPLY:
        raise BadReply("input exceeds size limit")
    end = colon + 1 + length
    if len(buffer) <= end:
        return 0
    if buffer[end] != 0x2C:
        raise BadReply("input format error", buffer)
    return end + 1
