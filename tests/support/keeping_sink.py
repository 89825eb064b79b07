"""An SMTP server in threads of the test that keeps what it gets, and answers as the test tells it to.

    with KeepingSink(reply=lambda stage, argument: b"450 4.2.0 later" if stage == "RCPT" else None) as sink:
        sink.wait(3)            # messages
        sink.messages[0].sender # the argument of MAIL FROM:, parameters and all

Stages: CONNECT, EHLO, HELO, MAIL, RCPT, DATA, DOT (its argument is the content), RSET, QUIT. A reply of b""
hangs up. `reply` may be set while it runs.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.relay import PATIENCE, until

EXTENSIONS = (b"PIPELINING", b"8BITMIME", b"SIZE 100000000", b"ENHANCEDSTATUSCODES", b"DSN", b"SMTPUTF8")
OK = {
    "CONNECT": b"220 sink.test ESMTP",
    "HELO": b"250 sink.test",
    "MAIL": b"250 2.1.0 Ok",
    "RCPT": b"250 2.1.5 Ok",
    "DATA": b"354 go",
    "DOT": b"250 2.0.0 Ok: queued as SINK",
    "RSET": b"250 2.0.0 Ok",
    "QUIT": b"221 2.0.0 Bye",
}
Reply = Callable[[str, bytes], bytes | None]


@dataclass
class Kept:
    """A message as it came: without dot-stuffing, with CRLF."""

    sender: bytes
    recipients: list[bytes]
    content: bytes
    connection: int

    @property
    def header(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[0] + b"\r\n"

    @property
    def body(self) -> bytes:
        return self.content.partition(b"\r\n\r\n")[2]


@dataclass
class KeepingSink:
    reply: Reply | None = None
    extensions: tuple[bytes, ...] = EXTENSIONS
    host: str = "127.0.0.1"
    port: int = 0
    messages: list[Kept] = field(default_factory=list)
    connections: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def __enter__(self) -> KeepingSink:
        sink = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with sink.lock:
                    sink.connections += 1
                    number = sink.connections
                with contextlib.suppress(OSError):  # the client is gone; what it had not ended is not kept
                    _Session(sink, self.rfile, self.wfile, number).run()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads, request_queue_size = True, True, 500

        self.server = Server((self.host, self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def next_hop(self) -> str:
        return f"[{self.host}]:{self.port}"

    def wait(self, count: int = 1, timeout: float = PATIENCE) -> list[Kept]:
        return until(
            lambda: len(self.messages) >= count and self.messages,
            lambda: f"{len(self.messages)} messages and not {count} in the sink",
            timeout,
        )


class _Session:
    def __init__(self, sink: KeepingSink, reader: Any, writer: Any, number: int) -> None:
        self.sink, self.reader, self.writer, self.number = sink, reader, writer, number
        self.sender, self.recipients = b"", []

    def say(self, stage: str, argument: bytes) -> bytes:
        told = self.sink.reply(stage, argument) if self.sink.reply else None
        reply = OK.get(stage, b"502 5.5.2 what?") if told is None else told
        if not reply:
            raise ConnectionAbortedError
        self.writer.write(reply + b"\r\n")
        return reply

    def run(self) -> None:
        if self.say("CONNECT", b"")[:1] != b"2":
            return
        while line := self.reader.readline(65536):
            verb, argument = line[:4].upper().strip().decode("latin1"), line[5:].strip()
            if verb == "EHLO":
                lines = [b"sink.test", *self.sink.extensions]
                greeting = b"\r\n".join([b"250-" + x for x in lines[:-1]] + [b"250 " + lines[-1]])
                told = self.sink.reply("EHLO", argument) if self.sink.reply else None
                self.writer.write((told or greeting) + b"\r\n")
            elif verb == "DATA":
                self.data(argument)
            else:
                ok = self.say(verb, argument)[:1] == b"2"
                if verb == "MAIL" and ok:
                    self.sender, self.recipients = argument[len(b"FROM:") :], []
                elif verb == "RCPT" and ok:
                    self.recipients.append(argument[len(b"TO:") :])
                elif verb == "QUIT":
                    return

    def data(self, argument: bytes) -> None:
        if not self.recipients:
            self.writer.write(b"554 5.5.1 no valid recipients\r\n")
            return
        if self.say("DATA", argument)[:1] != b"3":
            return
        lines = []
        while (line := self.reader.readline(1 << 20)) != b".\r\n":
            if not line:
                raise ConnectionAbortedError
            lines.append(line[1:] if line.startswith(b".") else line)
        content = b"".join(lines)
        with self.sink.lock:  # kept before it is answered: a counted 250 is here
            place = len(self.sink.messages)
            kept = Kept(self.sender, self.recipients, content, self.number)
            told = self.sink.reply("DOT", content) if self.sink.reply else None
            if (told or OK["DOT"])[:1] == b"2":
                self.sink.messages.insert(place, kept)
        self.sender, self.recipients = b"", []
        reply = OK["DOT"] if told is None else told
        if not reply:
            raise ConnectionAbortedError
        self.writer.write(reply + b"\r\n")
