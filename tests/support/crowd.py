"""Many clients in one process: sockets that connect, say a little, and stay.

with Crowd(port) as crowd:
    crowd.open(2000)                    # each has read its greeting
    crowd.say(b"EHLO there.test\\r\\n")     # each has read the reply
    crowd.drip(b"NOOP\\r\\n", 10.0)         # each sends a byte a second for so long
"""

from __future__ import annotations

import resource
import select
import socket
import time

PATIENCE = 60.0


def allow_files(count: int) -> None:
    """Raise the limit of open files as far as it goes; fails when that is not enough."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard >= count, f"this test needs {count} open files, and {hard} are allowed"


class Crowd:
    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.address = (host, port)
        self.clients: list[socket.socket] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exc: object) -> None:
        for client in self.clients:
            client.close()
        self.clients = []

    def connect(self, count: int) -> list[socket.socket]:
        """Begin `count` connections, and wait for none of them."""
        begun = []
        for _ in range(count):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(self.address)
            begun.append(client)
        self.clients += begun
        return begun

    @staticmethod
    def listener() -> socket.socket:
        """The other side: it takes connections, and never says a word."""
        return socket.create_server(("127.0.0.1", 0), backlog=4096)

    def open(self, count: int, step: int = 500) -> None:
        allow_files(len(self.clients) + count + 100)
        for begin in range(0, count, step):
            clients = self.connect(min(step, count - begin))
            for client in clients:
                client.setblocking(True)
                client.settimeout(PATIENCE)
            for client in clients:
                greeting = client.recv(1000)
                assert greeting.startswith(b"220"), greeting

    def say(self, text: bytes, code: bytes = b"250", step: int = 500) -> None:
        """Each says this and reads one reply, which has to begin with `code`."""
        for begin in range(0, len(self.clients), step):
            for client in self.clients[begin : begin + step]:
                client.sendall(text)
            for client in self.clients[begin : begin + step]:
                reply = client.recv(4000)
                assert reply.startswith(code), reply

    def drip(self, text: bytes, seconds: float) -> None:
        """Each sends `text`, again and again, a byte a second, and reads what comes back."""
        end, position = time.monotonic() + seconds, 0
        for client in self.clients:
            client.setblocking(False)
        while (begun := time.monotonic()) < end:
            byte = text[position % len(text) : position % len(text) + 1]
            position += 1
            for number, client in enumerate(self.clients):
                if number % 100 == 0:  # spread over the second
                    due = begun + number / len(self.clients)
                    time.sleep(max(0.0, due - time.monotonic()))
                client.send(byte)
            for client in self.readable():
                assert client.recv(4000), "the relay has closed a connection"
            time.sleep(max(0.0, begun + 1.0 - time.monotonic()))

    def readable(self, timeout: float = 0.0) -> list[socket.socket]:
        by_number = {client.fileno(): client for client in self.clients}
        poll = select.epoll()
        try:
            for number in by_number:
                poll.register(number, select.EPOLLIN)
            return [by_number[number] for number, _ in poll.poll(timeout, len(by_number) or 1)]
        finally:
            poll.close()


def established(clients: list[socket.socket], timeout: float) -> int:
    """How many of these are connected by then: writable, with no error."""
    poll = select.epoll()
    by_number = {client.fileno(): client for client in clients}
    found: set[int] = set()
    try:
        for number in by_number:
            poll.register(number, select.EPOLLOUT | select.EPOLLONESHOT)
        end = time.monotonic() + timeout
        while len(found) < len(clients) and (left := end - time.monotonic()) > 0:
            for number, _ in poll.poll(left, len(clients)):
                if not by_number[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.add(number)
    finally:
        poll.close()
    return len(found)
