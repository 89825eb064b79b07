"""The sending end: so many sessions that send so many messages, as fast as replies come or at a rate.

Load gives out numbers and counts, and keeps each session at one SourceConnection after the other. A run is
bounded: a connection that comes to nothing uses up a message too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastrelay.load.messages import Uuids
from fastrelay.load.report import Report
from fastrelay.load.source_connection import SourceConnection

PAUSE = 0.1  # seconds after a connection that failed
clock = time.monotonic  # the loop's own counts milliseconds
GRACE = 10.0  # seconds for what is under way when the time is up


class Messages(Protocol):
    def content(self, number: int, mark: bytes, sender: bytes, recipient: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Plan:
    sessions: int
    messages: int  # 0: until the duration is over
    rate: float  # 0: no limit
    per_connection: int  # 0: no limit
    pipelining: bool
    recipients: int
    sender: str
    recipient: str  # %d is the number of the recipient, counted over all messages
    helo: str
    duration: float
    timeout: float


class Load:
    def __init__(
        self, plan: Plan, messages: Messages, acknowledge: Callable[[bytes, bytes], None] | None = None
    ) -> None:
        """`acknowledge(uuid, queue id)` is called at once for each accepted message, before it is counted."""
        self.plan, self.messages, self.acknowledge = plan, messages, acknowledge
        self.report = Report()
        self.uuids = Uuids()
        self.open: set[SourceConnection] = set()
        self.stopped = False
        self.loop = asyncio.get_running_loop()
        self.begun = clock()

    def take(self) -> int:
        """The number of the next message, 0 when there is none."""
        if self.stopped or (self.plan.messages and self.report.started >= self.plan.messages):
            return 0
        self.report.started += 1
        return self.report.started

    def stop(self) -> None:
        """Start nothing more; end connections that wait for their turn."""
        self.stopped = True
        for connection in list(self.open):
            connection.end_wait()

    def fail(self, stage: str, text: bytes) -> None:
        self.report.failed += 1
        self.report.error(stage, text)

    async def run(self, addresses: Sequence[tuple[str, int]]) -> Report:
        """`addresses` in turn."""
        self.begun = clock()
        alarm = self.loop.call_later(self.plan.duration, self.stop) if self.plan.duration else None
        watch = self.loop.create_task(self.watch())
        await asyncio.gather(
            *(self.session(addresses[number % len(addresses)]) for number in range(self.plan.sessions))
        )
        watch.cancel()
        if alarm:
            alarm.cancel()
        self.report.seconds = clock() - self.begun
        return self.report

    async def session(self, address: tuple[str, int]) -> None:
        """One connection after the other while there is something to send."""
        while not self.stopped and not (self.plan.messages and self.report.started >= self.plan.messages):
            connection = SourceConnection(self)
            try:
                async with asyncio.timeout(self.plan.timeout):
                    await self.loop.create_connection(lambda c=connection: c, *address)  # type: ignore[misc]
            except OSError as error:  # TimeoutError is one
                connection.failed("connect", str(error.strerror or "timed out").encode())
            else:
                await connection.closed
            if not connection.sent:
                await asyncio.sleep(PAUSE)

    async def watch(self) -> None:
        """Time-outs, looked at now and then; and the end of patience when the time is up."""
        patience = 0.0
        while True:
            await asyncio.sleep(min(0.5, self.plan.timeout / 4))
            now = clock()
            patience = patience or (now + GRACE if self.stopped else 0.0)
            for connection in list(self.open):
                if connection.waiting is None and (now > connection.deadline or 0 < patience < now):
                    connection.failed(connection.stage, b"timed out")
                    connection.transport.abort()
