"""Clients that send numbered messages without end, and the list of those that were answered 250.

    with Senders(relay.host, relay.port) as senders:
        ...                      # kill what you like: a client that loses its connection opens another
    senders.answered             # labels whose 250 was read; a label stands in RCPT and in Subject
    missing(senders.answered, sink_labels, queued_labels)

A label is never sent twice, so a second copy of one is the relay's doing. The list is appended to only
after the 250 was read: what is in it at some moment was acknowledged before that moment.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator

LABEL = re.compile(rb"\bm[0-9]+-[0-9]+-[0-9]+\b")
SIZES = (100, 700, 3000, 9000, 40_000)  # bytes; mostly short, as mail is
_runs = iter(range(1, 1 << 30))


class Senders:
    """`count` sessions at a time, each a thread; `each` messages a session, 0: as many as it can."""

    def __init__(
        self,
        host: str,
        port: int,
        count: int = 6,
        each: int = 20,
        pause: float = 0.0,
        seed: int = 0,
        sizes: tuple[int, ...] = SIZES,
    ) -> None:
        self.answered: list[str] = []
        self.unknown: list[str] = []  # the dot went out and no answer came
        self.refused: list[str] = []  # ... and the answer was not 250
        self.replies: dict[bytes, int] = {}  # refusals by their first line
        self._address, self._each, self._pause, self._sizes = (host, port), each, pause, sizes
        self._asked: dict[str, float] = {}  # when its final dot went out
        self._longest = 0.0
        self._run, self._seed = next(_runs), seed
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(i,), daemon=True) for i in range(count)]

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Every session ends after the message that it is sending."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)

    def wait(self, count: int, timeout: float = 60.0) -> None:
        """Until so many more were answered."""
        wanted, limit = len(self.answered) + count, time.monotonic() + timeout
        while len(self.answered) < wanted:
            assert time.monotonic() < limit, f"{len(self.answered)} answered and not {wanted}: {self.replies}"
            time.sleep(0.005)

    def wait_reply(self, start: bytes, timeout: float = 60.0) -> None:
        """Until a client was refused so."""
        limit = time.monotonic() + timeout
        while not any(reply.startswith(start) for reply in self.replies):
            assert time.monotonic() < limit, f"{start!r} is not among {self.replies}"
            time.sleep(0.005)

    def longest_wait(self) -> float:
        """For the answer to a final dot, so far: at least as long as the slowest commit."""
        return max(self._longest, *(time.monotonic() - asked for asked in list(self._asked.values())), 0.0)

    def _work(self, number: int) -> None:
        chance, serials = random.Random(f"{self._seed}-{number}"), itertools.count(1)
        while not self._stopped.is_set():
            with contextlib.suppress(OSError), socket.create_connection(self._address, 60) as client:
                client.settimeout(60)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._session(client, number, serials, chance)
            self._stopped.wait(0.01)

    def _session(
        self, client: socket.socket, number: int, serials: Iterator[int], chance: random.Random
    ) -> None:
        replies = client.makefile("rb")
        self._reply(replies, b"220")
        client.sendall(b"EHLO client.test\r\n")
        self._reply(replies, b"250")
        for _ in range(self._each or 1 << 30):
            label = f"m{self._run}-{number}-{next(serials)}"
            if not self._message(client, replies, label, chance):
                break
            if self._stopped.wait(self._pause):
                break

    def _message(self, client: socket.socket, replies: object, label: str, chance: random.Random) -> bool:
        """May the session go on?"""
        envelope = f"MAIL FROM:<s@client.test>\r\nRCPT TO:<{label}@there.test>\r\nDATA\r\n"
        client.sendall(envelope.encode())
        told = [self._reply(replies) for _ in range(3)]
        if told[2][:3] != b"354":
            self._refused(next(reply for reply in told if reply[:1] != b"2"))
            return told[2][:3] != b"421"
        body = b"x" * chance.randrange(70) + b"\r\n"
        size = chance.choice(self._sizes)
        self.unknown.append(label)
        self._asked[label] = time.monotonic()
        try:
            content = body * (size // len(body) + 1)
            client.sendall(b"Subject: %b\r\n\r\n%b.\r\n" % (label.encode(), content))
            reply = self._reply(replies)
        finally:
            self._longest = max(self._longest, time.monotonic() - self._asked.pop(label))
        self.unknown.remove(label)
        if reply[:3] == b"250":
            self.answered.append(label)
        else:
            self.refused.append(label)
            self._refused(reply)
        return reply[:3] != b"421"

    def _refused(self, reply: bytes) -> None:
        self.replies[reply] = self.replies.get(reply, 0) + 1
        self._stopped.wait(0.02)

    @staticmethod
    def _reply(replies: object, wanted: bytes = b"") -> bytes:
        """The last line of a reply; ConnectionError when there is none, or not the one that is needed."""
        while True:
            line: bytes = replies.readline()  # type: ignore[attr-defined]
            if not line.endswith(b"\n"):
                raise ConnectionError("lost")
            if line[3:4] != b"-":
                if wanted and not line.startswith(wanted):
                    raise ConnectionError(repr(line))
                return line.rstrip()


def label_of(text: bytes) -> str:
    """The first label in an address or a message."""
    found = LABEL.search(text)
    assert found, text[:200]
    return found[0].decode()


def missing(answered: Iterable[str], *places: Iterable[str]) -> set[str]:
    """What was answered 250 and is in none of these places."""
    return set(answered).difference(*places)
