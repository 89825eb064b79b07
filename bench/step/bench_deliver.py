"""Delivery step: CPU a message of SmtpAgent against a minimal sink in another process.

    python bench/step/bench_deliver.py [MESSAGES] [CONNECTIONS]

`busy`: each slot finds the queue full (pipelined across messages). `single`: a slot for each message, over
cached connections. `floor`: the same bytes written and read by a bare Protocol on the same loop.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import time
from collections import deque
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from fastrelay.borders import Delivery, Outcome
from fastrelay.delivery.dns import Resolver
from fastrelay.delivery.smtp import SmtpAgent
from fastrelay.tcp._poller import Poller
from support.smtp_delivery import Destination, make_delivery, resolver_settings, smtp_settings

BODY = b"Subject: bench\r\n\r\n" + b"x" * 62 + b"\r\n"
BODY += (b"y" * 62 + b"\r\n") * ((4096 - len(BODY)) // 64)


class Sink(asyncio.Protocol):
    """Answers by counting: MAIL, RCPT, DATA, dot. Nothing is looked at that need not be."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.in_data = False
        self.rest = b""
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        out = []
        while data:
            if self.in_data:
                _, dot, tail = data.partition(b"\r\n.\r\n")
                if not dot:
                    self.rest = data[-4:]
                    self.transport.write(b"".join(out))
                    return
                data, self.in_data = tail, False
                out.append(b"250 2.0.0 Ok: queued as 12345\r\n")
                continue
            line, newline, tail = data.partition(b"\r\n")
            if not newline:
                break
            data = tail
            verb = line[:4]
            if verb == b"EHLO":
                out.append(b"250-sink\r\n250-PIPELINING\r\n250-SIZE 0\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                out.append(b"354 go\r\n")
                self.in_data = True
            else:
                out.append(b"250 2.1.0 Ok\r\n")
        self.rest = data
        self.transport.write(b"".join(out))


def serve(ports: Queue[int]) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(main())


class Feed(Destination):
    """A shared queue of `count` deliveries; slots take from it."""

    def __init__(self, next_hop: bytes, deliveries: deque[Delivery], slots: int) -> None:
        super().__init__(next_hop)
        self.ready = deliveries
        self.slots = slots

    def release(self) -> None:
        self.released += 1
        if self.released == self.slots:
            self.done.set()


def check(delivery: Delivery, outcomes: list[Outcome]) -> None:
    assert outcomes[0].status == 1, outcomes


async def busy(agent: SmtpAgent, next_hop: bytes, count: int, connections: int) -> float:
    deliveries = deque(make_delivery(next_hop, content=(BODY,)) for _ in range(count))
    feed = Feed(next_hop, deliveries, connections)
    gc.freeze()  # what was made ahead here is made and dropped message by message in a relay
    began = time.process_time()
    for _ in range(connections):
        agent.open_slot(feed)
    await feed.done.wait()
    return time.process_time() - began


class OneEach(Destination):
    """A slot a message; a released slot opens the next."""

    agent: SmtpAgent
    left = 0

    def release(self) -> None:
        if self.left:
            self.left -= 1
            asyncio.get_running_loop().call_soon(self.agent.open_slot, self)
        elif not self.ready:
            self.done.set()

    def take(self) -> Delivery | None:
        if self.taken:
            self.taken = False
            return None
        self.taken = True
        return self.ready.popleft() if self.ready else None

    taken = False


async def single(agent: SmtpAgent, next_hop: bytes, count: int) -> float:
    queue = OneEach(next_hop, [make_delivery(next_hop, content=(BODY,)) for _ in range(count)])
    queue.agent, queue.left = agent, count
    gc.freeze()
    began = time.process_time()
    agent.open_slot(queue)
    await queue.done.wait()
    return time.process_time() - began


class Bare(asyncio.Protocol):
    """The floor: one write and one read a message, nothing parsed."""

    def __init__(self, count: int, done: asyncio.Event) -> None:
        self.left, self.done = count, done
        envelope = b"MAIL FROM:<sender@here.test> SIZE=4096\r\nRCPT TO:<user@there.test>\r\nDATA\r\n"
        self.envelope, self.data = envelope, BODY + b".\r\n" + envelope

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.first = True

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"220"):
            self.transport.write(b"EHLO me\r\n")
        elif data.startswith(b"250-"):
            self.transport.write(self.envelope)
        elif self.left:
            self.left -= 1
            self.transport.write(self.data)
        else:
            self.transport.abort()
            self.done.set()


async def floor(port: int, count: int, connections: int) -> float:
    began = time.process_time()
    events = [asyncio.Event() for _ in range(connections)]
    for event in events:
        await asyncio.get_running_loop().create_connection(
            lambda event=event: Bare(count // connections, event), "127.0.0.1", port
        )
    for event in events:
        await event.wait()
    return time.process_time() - began


async def main(port: int, count: int, connections: int) -> None:
    settings = smtp_settings()
    agent = SmtpAgent(
        settings, check, print, Resolver(resolver_settings()), Poller(asyncio.get_running_loop())
    )
    next_hop = b"[127.0.0.1]:%d" % port
    await busy(agent, next_hop, connections * 2, connections)
    for name, spent in (
        ("floor", await floor(port, count, connections)),
        ("busy", await busy(agent, next_hop, count, connections)),
        ("single", await single(agent, next_hop, count)),
        ("floor", await floor(port, count, connections)),
        ("busy", await busy(agent, next_hop, count, connections)),
    ):
        print(f"{name:8} {spent / count * 1e6:7.2f} us of CPU a message")
    await agent.close()


if __name__ == "__main__":
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    sessions = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    ports: Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(ports,), daemon=True)
    process.start()
    uvloop.run(main(ports.get(), messages, sessions))
    process.terminate()
