"""A connection with a dialogue of seven lines: streams of tcp/ beside uvloop's transports, with the same protocol.

python -m pytest -o addopts= bench/leaf/bench_tcp.py

Fifty clients at a time, in a process of their own; the figures are the server's CPU time, its system calls included.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from fastrelay.tcp._poller import Poller
from fastrelay.tcp._stream import Listener

CLIENTS = 50
CONNECTIONS = 500
LINES = 7
LINE = b"MAIL FROM:<sender@source.example>\r\n"
REPLY = b"250 2.1.0 Ok\r\n"


class Server(asyncio.Protocol):
    transport: Any
    ended = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(REPLY)

    def connection_lost(self, error: Exception | None) -> None:
        Server.ended += 1


def converse(port: int) -> None:
    """Fifty connections, made, used and ended together, until there is nobody to talk to."""
    while True:
        try:
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
            for _ in range(LINES):
                for client in clients:
                    client.send(LINE)
                for client in clients:
                    assert client.recv(100) == REPLY
            for client in clients:
                client.close()
        except OSError:
            return


async def serve_some() -> None:
    wanted = Server.ended + CONNECTIONS
    while Server.ended < wanted:
        await asyncio.sleep(0.001)


def serve_by_uvloop(loop: asyncio.AbstractEventLoop) -> tuple[int, Callable[[], None]]:
    server = loop.run_until_complete(loop.create_server(Server, "127.0.0.1", 0, backlog=CLIENTS))
    return server.sockets[0].getsockname()[1], server.close


def serve_by_streams(loop: asyncio.AbstractEventLoop) -> tuple[int, Callable[[], None]]:
    listening = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
    poller, port = Poller(loop), listening.getsockname()[1]
    listener = Listener(poller, listening, Server)

    def close() -> None:
        listener.close()
        poller.close()

    return port, close


@pytest.mark.benchmark(group="CPU of 500 connections with seven lines each", timer=time.process_time)
@pytest.mark.parametrize("serve", [serve_by_streams, serve_by_uvloop])
def test_connections(benchmark: Any, serve: Callable[..., Any]) -> None:
    loop = uvloop.new_event_loop()
    port, close = serve(loop)
    client = multiprocessing.get_context("spawn").Process(target=converse, args=(port,))
    client.start()
    benchmark.pedantic(lambda: loop.run_until_complete(serve_some()), rounds=30, warmup_rounds=3)
    client.terminate()
    client.join()
    close()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()
