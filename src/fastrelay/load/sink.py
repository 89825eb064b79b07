"""The receiving end: an SMTP server that takes everything, counts it, and keeps it if told to.

One SinkConnection a client; what all share is the Sink. Made to be cheap: a read is worked off with finds on
one buffer, and all replies to it leave in one write. While content comes, the buffer begins with the last
bytes seen, so that CRLF.CRLF over a border of reads is found; the CRLF of DATA itself is the first line's.
A sink with a script makes ScriptedConnections (scripted.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass

END = b"\r\n.\r\n"
MAX_LINE = 65536
MAX_CONTENT = 256 * 1024 * 1024  # kept in memory until its end, when it is kept at all
EHLO = ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN")
COMMAND, CONTENT, CLOSED = range(3)

R_220_READY = b"220 sink.invalid ESMTP fastrelay sink\r\n"
R_221_BYE = b"221 2.0.0 Bye\r\n"
R_250_OK = b"250 2.0.0 Ok\r\n"
R_250_SENDER = b"250 2.1.0 Ok\r\n"
R_250_RECIPIENT = b"250 2.1.5 Ok\r\n"
R_252_VRFY = b"252 2.0.0 Send some mail, I'll try my best\r\n"
R_354_GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
R_451_NOT_KEPT = b"451 4.3.0 The sink cannot write its Maildir\r\n"
R_500_LONG = b"500 5.5.2 Line too long\r\n"
R_501_SYNTAX = b"501 5.5.4 Syntax error\r\n"
R_502_UNKNOWN = b"502 5.5.2 Command not recognized\r\n"
R_503_NESTED = b"503 5.5.1 Error: nested MAIL command\r\n"
R_503_NO_MAIL = b"503 5.5.1 Error: need MAIL command\r\n"
R_503_NO_RCPT = b"503 5.5.1 Error: need RCPT command\r\n"
R_552_SIZE = b"552 5.3.4 Message too big for this sink\r\n"


@dataclass(slots=True)
class Counts:
    connections: int = 0
    messages: int = 0
    recipients: int = 0
    bytes: int = 0
    rejected: int = 0  # replies 4xx and 5xx
    dropped: int = 0  # connections that the script ended
    lost: int = 0  # connections that the client ended in a transaction

    def __str__(self) -> str:
        return " ".join(f"{name} {value}" for name, value in asdict(self).items())


class Sink:
    """What the connections share. `keep(number, helo, sender, recipients, content)` may raise OSError."""

    def __init__(
        self,
        keep: Callable[[int, bytes, bytes, list[bytes], bytes], None] | None = None,
        ehlo: tuple[str, ...] = EHLO,
        max_messages: int = 0,
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.keep, self.max_messages, self.complain = keep, max_messages, complain
        self.counts = Counts()
        self.open: set[SinkConnection] = set()
        self.full = asyncio.Event()
        lines = ["sink.invalid", *ehlo]
        marks = ["-"] * len(ehlo) + [" "]
        self.ehlo_reply = "".join(f"250{m}{line}\r\n" for m, line in zip(marks, lines, strict=True)).encode()

    def accept(self, connection: SinkConnection, content: bytes) -> bytes:
        """A whole message, still dot-stuffed and with the CRLF of DATA before it; the reply to the dot."""
        counts = self.counts
        if self.keep is not None:
            plain = content.replace(b"\r\n.", b"\r\n")[2:]
            try:
                self.keep(
                    counts.messages + 1, connection.helo, connection.sender, connection.recipients, plain
                )
            except OSError as error:
                counts.rejected += 1
                self.complain(f"cannot keep a message: {error}")
                return R_451_NOT_KEPT
        counts.messages += 1
        counts.recipients += len(connection.recipients)
        counts.bytes += connection.size
        if counts.messages == self.max_messages:
            self.full.set()
        return b"250 2.0.0 Ok: queued as %X\r\n" % counts.messages


class SinkConnection(asyncio.Protocol):
    __slots__ = ("helo", "pending", "pieces", "recipients", "sender", "sink", "size", "state", "transport")
    transport: asyncio.Transport

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.state = COMMAND
        self.pending = b""
        self.helo = b""
        self.sender: bytes = b""  # the rest of the MAIL line, with its parameters; "" outside a transaction
        self.recipients: list[bytes] = []
        self.pieces: list[bytes] = []
        self.size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.sink.counts.connections += 1
        self.sink.open.add(self)
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        self.sink.open.discard(self)
        if self.sender and self.state != CLOSED:
            self.sink.counts.lost += 1
        self.state = CLOSED

    def data_received(self, data: bytes) -> None:
        if self.pending:
            data = self.pending + data
            self.pending = b""
        replies: list[bytes] = []
        position, length = 0, len(data)
        while position < length and self.state != CLOSED:
            if self.state == CONTENT:
                position = self.read_content(data, position, replies)
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self.pending = data[position:]
                if length - position > MAX_LINE:
                    replies.append(R_500_LONG)
                    self.state = CLOSED
                break
            replies.append(self.command(data[position:end]))
            position = end + 1 if self.state != CONTENT else max(end - 1, 0)
        self.write(replies)
        if self.state == CLOSED:
            self.close()

    def read_content(self, data: bytes, start: int, replies: list[bytes]) -> int:
        """From `start`, where a CRLF is; returns where to go on."""
        end = data.find(END, start)
        if end < 0:
            self.pending = data[-4:] if len(data) - start > 4 else data[start:]
            self.take(data[start : len(data) - len(self.pending)])
            return len(data)
        self.take(data[start : end + 2])
        self.size -= 2  # the CRLF of DATA
        self.state = COMMAND
        replies.append(self.dot())
        self.forget()
        return end + 5

    def take(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.sink.keep is not None and self.size <= MAX_CONTENT:
            self.pieces.append(piece)

    def forget(self) -> None:
        self.sender, self.recipients, self.pieces, self.size = b"", [], [], 0

    # What a ScriptedConnection does otherwise.

    def greet(self) -> None:
        self.transport.write(R_220_READY)

    def command(self, line: bytes) -> bytes:
        entry = VERBS.get(line[:4].upper())
        if entry is None:
            return R_502_UNKNOWN
        reply = entry[1](self, line)
        if reply[0] >= 0x34:
            self.sink.counts.rejected += 1
        return reply

    def dot(self) -> bytes:
        if self.sink.keep is not None and self.size > MAX_CONTENT:
            self.sink.counts.rejected += 1
            return R_552_SIZE
        return self.sink.accept(self, b"".join(self.pieces))

    def write(self, replies: list[bytes]) -> None:
        if replies:
            self.transport.write(b"".join(replies))

    def close(self) -> None:
        self.state = CLOSED
        self.transport.close()

    # One method a verb; RFC 5321 4.1.1.

    def helo_ehlo(self, line: bytes) -> bytes:
        self.forget()
        self.helo = line[5:].strip()
        return self.sink.ehlo_reply if line[0] in b"Ee" else b"250 sink.invalid\r\n"

    def mail(self, line: bytes) -> bytes:
        if self.sender:
            return R_503_NESTED
        argument = line[10:].strip()
        if line[4:10].upper() != b" FROM:" or not argument:
            return R_501_SYNTAX
        self.sender = argument
        return R_250_SENDER

    def rcpt(self, line: bytes) -> bytes:
        if not self.sender:
            return R_503_NO_MAIL
        argument = line[8:].strip()
        if line[4:8].upper() != b" TO:" or not argument:
            return R_501_SYNTAX
        self.recipients.append(argument)
        return R_250_RECIPIENT

    def data(self, line: bytes) -> bytes:
        if not self.recipients:
            return R_503_NO_RCPT
        self.state = CONTENT
        return R_354_GO_AHEAD

    def rset(self, line: bytes) -> bytes:
        self.forget()
        return R_250_OK

    def noop(self, line: bytes) -> bytes:
        return R_250_OK

    def vrfy(self, line: bytes) -> bytes:
        return R_252_VRFY

    def quit(self, line: bytes) -> bytes:
        self.forget()
        self.state = CLOSED
        return R_221_BYE


VERBS: dict[bytes, tuple[str, Callable[[SinkConnection, bytes], bytes]]] = {
    b"HELO": ("helo", SinkConnection.helo_ehlo),
    b"EHLO": ("helo", SinkConnection.helo_ehlo),
    b"MAIL": ("mail", SinkConnection.mail),
    b"RCPT": ("rcpt", SinkConnection.rcpt),
    b"DATA": ("data", SinkConnection.data),
    b"RSET": ("", SinkConnection.rset),
    b"NOOP": ("", SinkConnection.noop),
    b"VRFY": ("", SinkConnection.vrfy),
    b"QUIT": ("quit", SinkConnection.quit),
}
