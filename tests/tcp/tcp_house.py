"""A poller with a listener in the test's own loop, and protocols that keep what happens to them."""

import asyncio
import socket

import uvloop

from fastrelay.tcp._poller import Poller
from fastrelay.tcp._stream import Listener

PATIENCE = 30


class Protocol:
    """Keeps what happens to it, in order."""

    def __init__(self, keep_open=False):
        self.events = []
        self.data = b""
        self.keep_open = keep_open
        self.transport = None
        self.error = None

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        self.data += data
        if self.events[-1:] != ["data"]:
            self.events.append("data")

    def eof_received(self):
        self.events.append("eof")
        return self.keep_open

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, error):
        self.error = error
        self.events.append("lost")


class House:
    """A poller, a listener, and the protocols of what was accepted."""

    def __init__(self, loop, make=Protocol, family=socket.AF_INET):
        self.made = []
        self.poller = Poller(loop)
        listening = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family, backlog=200
        )
        self.address = listening.getsockname()[:2]
        self.listener = Listener(self.poller, listening, self._make)
        self._new = make

    def _make(self):
        protocol = self._new()
        self.made.append(protocol)
        return protocol

    def connect(self):
        return socket.create_connection(self.address, PATIENCE)

    async def accepted(self, count=1):
        await until(lambda: len(self.made) >= count)
        return self.made[-1]

    def close(self):
        self.listener.close()
        for protocol in self.made:
            if protocol.transport is not None:
                protocol.transport.abort()


async def until(true):
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.002)


def run(test, make=Protocol, **options):
    """`test(house)` on uvloop; exceptions that a protocol let go are the answer."""
    unhandled = []

    async def whole():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
        house = House(loop, make, **options)
        try:
            await test(house)
        finally:
            house.close()
            await until(lambda: len(house.poller) == 0)
            house.poller.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())
    return unhandled
