"""One connection's dialogue from the client's end, driven by the replies; RFC 5321, groups as RFC 2920.

Its Load (source.py) says which message is next and counts. `expected` holds the stages whose replies are due;
a message under way either ends in final() or fails once in failed() or give_up().
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastrelay.load.source import Load

QUEUED = re.compile(rb"queued as ([^\s]+)")
MAX_REPLY = 65536
clock = time.monotonic  # the loop's own counts milliseconds


class SourceConnection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self.load, self.plan, self.report, self.loop = load, load.plan, load.report, load.loop
        self.closed = self.loop.create_future()
        self.opened = self.started = clock()
        self.deadline = self.opened + self.plan.timeout
        self.expected: deque[str] = deque(["connect"])  # stages whose replies are due, in order
        self.pending = b""
        self.features: set[bytes] = set()
        self.waiting: asyncio.TimerHandle | None = None
        self.number = 0  # of the message under way
        self.sent = 0  # messages begun on this connection
        self.refused = False  # the message under way has failed and its error is counted
        self.commands: list[tuple[str, bytes]] = []  # still to say, when not in a group
        self.accepted = 0  # recipients of it
        self.mark = self.content = b""

    @property
    def stage(self) -> str:
        return self.expected[0] if self.expected else "idle"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.report.connections += 1
        self.load.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.open.discard(self)
        if self.waiting is not None:
            self.waiting.cancel()
        if self.stage != "quit" and (self.number or not self.sent):
            self.failed(self.stage, b"lost connection")
        if not self.closed.done():
            self.closed.set_result(None)

    def failed(self, stage: str, text: bytes) -> None:
        """The message under way fails, once; a connection that came to nothing uses up one to come."""
        if self.refused:
            return
        self.refused = True
        if self.number or (not self.sent and self.load.take()):
            self.load.fail(stage, text)

    def data_received(self, data: bytes) -> None:
        self.deadline = clock() + self.plan.timeout
        lines = (self.pending + data).split(b"\n")
        self.pending = lines.pop()
        if len(self.pending) > MAX_REPLY:
            self.failed(self.stage, b"endless reply")
            self.transport.abort()
            return
        for line in lines:
            if self.stage == "helo" and line[:1] == b"2":
                self.features.add(line[4:].split(b" ")[0].strip().upper())
            if line[3:4] != b"-":
                self.reply(line.rstrip())
            if self.transport.is_closing():
                return

    def reply(self, line: bytes) -> None:
        if not self.expected or not line[:3].isdigit() or line.startswith(b"421"):
            self.failed(self.stage, line)
            self.transport.close()
            return
        stage, good = self.expected.popleft(), line[:1] in (b"2", b"3")
        match stage:
            case "connect" | "helo" | "HELO":
                self.opening(stage, good, line)
            case "mail" | "rcpt":
                self.envelope(stage, good, line)
            case "data":
                self.go_ahead(line)
            case "dot":
                self.final(good, line)
            case "rset":
                self.next()
            case _:
                self.transport.close()

    def opening(self, stage: str, good: bool, line: bytes) -> None:
        name = self.plan.helo.encode()
        if stage == "connect":
            self.report.greetings.add(clock() - self.opened)
        if good and stage == "connect":
            self.say([("helo", b"EHLO " + name)])
        elif good:
            self.next()
        elif stage == "helo" and line[:1] == b"5":
            self.say([("HELO", b"HELO " + name)])
        else:
            self.failed(stage.lower(), line)
            self.transport.close()

    def next(self) -> None:
        """Begin a message when its time has come, or say goodbye."""
        self.number, self.refused = 0, False
        done = self.plan.per_connection and self.sent >= self.plan.per_connection
        number = 0 if done else self.load.take()
        if not number:
            self.say([("quit", b"QUIT")])
            return
        self.number = number
        self.sent += 1
        wait = self.load.begun + (number - 1) / self.plan.rate - clock() if self.plan.rate else 0.0
        if wait > 0:
            self.waiting = self.loop.call_later(wait, self.begin)
        else:
            self.begin()

    def end_wait(self) -> None:
        """The load has stopped: a message that has not begun was never started."""
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting, self.number = None, 0
            self.report.started -= 1
            self.say([("quit", b"QUIT")])

    def begin(self) -> None:
        self.waiting, self.accepted = None, 0
        self.started = clock()
        self.mark = self.load.uuids[self.number]
        number, count = self.number, self.plan.recipients
        sender = self.plan.sender.replace("%d", str(number)).encode()
        first = (number - 1) * count
        people = [self.plan.recipient.replace("%d", str(first + n)).encode() for n in range(1, count + 1)]
        try:
            self.content = self.load.messages.content(number, self.mark, sender, people[0])
        except OSError as error:
            self.failed("file", str(error).encode())
            self.next()
            return
        commands = [("mail", b"MAIL FROM:<%b>%b" % (sender, self.parameters(sender, people)))]
        commands += [("rcpt", b"RCPT TO:<%b>" % person) for person in people]
        commands.append(("data", b"DATA"))
        if self.plan.pipelining and b"PIPELINING" in self.features:
            self.say(commands)
        else:
            self.commands = commands[:0:-1]
            self.say(commands[:1])

    def parameters(self, sender: bytes, people: list[bytes]) -> bytes:
        found = b""
        if b"SIZE" in self.features:
            found = b" SIZE=%d" % (len(self.content) - 3)
        if b"8BITMIME" in self.features and not self.content.isascii():
            found += b" BODY=8BITMIME"
        if b"SMTPUTF8" in self.features and not (sender.isascii() and all(map(bytes.isascii, people))):
            found += b" SMTPUTF8"
        return found

    def say(self, commands: list[tuple[str, bytes]]) -> None:
        self.expected.extend([stage for stage, _ in commands])
        self.deadline = clock() + self.plan.timeout
        self.transport.write(b"".join([b"%b\r\n" % line for _, line in commands]))

    def envelope(self, stage: str, good: bool, line: bytes) -> None:
        if good:
            self.accepted += stage == "rcpt"
        elif stage == "mail":
            self.failed(stage, line)
        elif not self.refused:
            self.report.recipients_rejected += 1
            self.report.error(stage, line)
        if not self.commands:
            return  # the rest is on its way
        stage, command = self.commands.pop()
        if self.refused or (stage == "data" and not self.accepted):
            self.give_up()
        else:
            self.say([(stage, command)])

    def give_up(self) -> None:
        """Every recipient was refused, or MAIL was; the errors are counted, the failure may not be."""
        self.commands = []
        if not self.refused:
            self.refused = True
            self.report.failed += 1
        self.say([("rset", b"RSET")])

    def go_ahead(self, line: bytes) -> None:
        if not line.startswith(b"354"):
            if self.accepted:
                self.failed("data", line)
            self.give_up()
            return
        self.expected.append("dot")
        self.transport.write(self.content if self.accepted else b".\r\n")  # RFC 2920 3.1

    def final(self, good: bool, line: bytes) -> None:
        if not good or not self.accepted:
            self.failed("dot", line)
            self.next()
            return
        if self.load.acknowledge is not None:
            queued = QUEUED.search(line)
            self.load.acknowledge(self.mark, queued[1] if queued else b"-")
        self.report.accepted += 1
        self.report.recipients += self.accepted
        self.report.bytes += len(self.content) - 3
        self.report.messages.add(clock() - self.started)
        self.next()
