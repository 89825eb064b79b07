"""tcp:host:port: one line asked, one line answered (tcp_table(5)).

"get KEY" is answered "200 VALUE", "500 text" (not there) or "400 text" (try later); what is not printable,
a blank or a percent sign is written %XX. A reply is at most 4,096 bytes with its newline, as in Postfix.
"""

from __future__ import annotations

import re

from fastrelay.tables.options import Options
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.stream import BadReply, Pool, Stream, open_stream, parse_host_port
from fastrelay.tables.table import TableError
from fastrelay.tables.text import SyntaxProblem, printable

LONGEST_REPLY = 4096
_PLAIN = frozenset(range(0x21, 0x7F)) - {0x25}
_REPLY = re.compile(rb"[0-9]{3}[ \t\v\f\r]((?:[^%]|%[0-9A-Fa-f]{2})*)", re.DOTALL)
_CODED = re.compile(rb"%(..)")


class TcpTable(RemoteTable):
    type = "tcp"
    keeps_case = True
    pattern = True  # whole keys only, says its manual page

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        self._pool = Pool(self._open, self.connection_limit)
        try:
            self._endpoint = parse_host_port(name)
        except SyntaxProblem as error:
            self.problem = str(error)

    async def fetch(self, key: bytes) -> bytes | None:
        request = b"get " + encoded(key) + b"\n"
        line = await self._pool.use(lambda stream: stream.ask(request))
        return self._read(line[:-1])

    async def close(self) -> None:
        self._pool.close()

    async def _open(self) -> Stream:
        return await open_stream(self._endpoint, line_length, LONGEST_REPLY)

    def _read(self, line: bytes) -> bytes | None:
        match = _REPLY.fullmatch(line)
        if match is None:
            raise BadReply("malformed reply", line)
        text = _CODED.sub(lambda code: bytes.fromhex(code[1].decode()), match[1])
        if line[:1] == b"2":
            return text
        if line[:1] == b"5":
            return None
        if line[:1] == b"4":
            raise TableError(self.label, f"server says: {printable(text)}", unavailable=False)
        raise BadReply("bad status code", line)


def encoded(key: bytes) -> bytes:
    return b"".join(b"%c" % c if c in _PLAIN else b"%%%02X" % c for c in key)


def line_length(buffer: bytearray) -> int:
    """A Framing: of a line with its newline."""
    length = buffer.find(b"\n") + 1
    if length > LONGEST_REPLY:
        raise BadReply("reply exceeds size limit")
    return length
