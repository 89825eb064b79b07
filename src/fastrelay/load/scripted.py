"""A sink's connection that follows a script: other replies, lost connections, latency, a tarpit.

A reply leaves its latency after its command came, in order, as over a long line. In a tarpit replies dribble
and reading pauses, both at so many bytes a second. A 421 ends the connection as RFC 5321 3.8 has it.
"""

from __future__ import annotations

import asyncio
from collections import deque

from fastrelay.load.script import Script
from fastrelay.load.sink import CLOSED, R_220_READY, VERBS, Sink, SinkConnection

STEP = 0.02  # seconds between two dribbles, when the rate allows for more than a byte in it


class ScriptedConnection(SinkConnection):
    __slots__ = ("delays", "due", "loop", "script", "timer")

    def __init__(self, sink: Sink, script: Script) -> None:
        super().__init__(sink)
        self.script = script
        self.loop = asyncio.get_running_loop()
        self.delays: list[float] = []  # one for each reply that is on its way to write()
        self.due: deque[tuple[float, bytes]] = deque()  # b"" closes
        self.timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timer is not None:
            self.timer.cancel()

    def greet(self) -> None:
        reply = self.scripted("connect", b"")
        self.write([R_220_READY if reply is None else reply])
        if self.state == CLOSED:
            self.close()

    def data_received(self, data: bytes) -> None:
        if self.state == CLOSED:
            return  # what comes after we said goodbye
        if self.script.tarpit:
            self.transport.pause_reading()
            self.loop.call_later(len(data) / self.script.tarpit, self.read_on)
        super().data_received(data)

    def read_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def command(self, line: bytes) -> bytes:
        entry = VERBS.get(line[:4].upper())
        if entry is None or not entry[0]:
            self.delays.append(self.script.delay(""))
            return super().command(line)
        reply = self.scripted(entry[0], line)
        if reply is None:
            return super().command(line)
        if reply[:1] in (b"2", b"3"):
            own = super().command(line)
            return reply if own[0] == reply[0] else own  # a sequence error stays one
        return reply

    def scripted(self, stage: str, line: bytes) -> bytes | None:
        """The reply to give for the ordinary one, b"" after a drop, None when no rule applies."""
        self.delays.append(self.script.delay(stage))
        rule = self.script.choose(stage, line)
        if rule is None:
            return None
        if rule.reply is None:
            self.sink.counts.dropped += 1
            self.state = CLOSED
            return b""
        if rule.reply[:1] in (b"4", b"5"):
            self.sink.counts.rejected += 1
        if rule.reply.startswith(b"421"):
            self.state = CLOSED
        return rule.reply

    def read_content(self, data: bytes, start: int, replies: list[bytes]) -> int:
        first = not self.size and len(data) - start > 2
        if first and "content" in self.script.rules and self.scripted("content", b"") == b"":
            replies.append(b"")
            return len(data)
        return super().read_content(data, start, replies)

    def dot(self) -> bytes:
        reply = self.scripted("dot", self.sender + b" " + b" ".join(self.recipients))
        if reply is None:
            return super().dot()
        if reply[:1] == b"2":
            own = super().dot()
            return reply if own[:1] == b"2" else own
        return reply

    def write(self, replies: list[bytes]) -> None:
        now = self.loop.time()
        for reply, delay in zip(replies, [*self.delays, 0.0], strict=False):
            if reply:
                self.due.append((max(now + delay, self.due[-1][0] if self.due else 0.0), reply))
        self.delays.clear()
        if self.timer is None:
            self.pump()

    def close(self) -> None:
        """After what is still to be said."""
        self.state = CLOSED
        self.due.append((0.0, b""))
        if self.timer is None:
            self.pump()

    def pump(self) -> None:
        """Say what is due; come again for the rest."""
        self.timer = None
        rate = self.script.tarpit
        while self.due:
            when, reply = self.due[0]
            wait = when - self.loop.time()
            if wait > 0:
                self.timer = self.loop.call_later(wait, self.pump)
                return
            self.due.popleft()
            if not reply:
                self.transport.close()
                return
            size = max(1, int(rate * STEP)) if rate else len(reply)
            self.transport.write(reply[:size])
            if rate:
                if reply[size:]:
                    self.due.appendleft((0.0, reply[size:]))
                self.timer = self.loop.call_later(min(size, len(reply)) / rate, self.pump)
                return
