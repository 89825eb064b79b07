"""The compiled dialogue without sockets: microseconds a message, beside a plain Python pipeliner.

python -m pytest -o addopts= bench/leaf/bench_dialogue.py
"""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from fastrelay.borders import Delivery, Outcome, Status
from fastrelay.delivery._dialogue import Dialogue
from fastrelay.delivery.mx import Server
from fastrelay.delivery.session import Features, Peer
from support.smtp_delivery import make_delivery, smtp_settings

MESSAGES = 1000
REPLIES = (
    b"250 2.0.0 Ok: queued as 12345\r\n"
    b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
)
END = REPLIES.index(b"\n") + 1


class Transport:
    def write(self, data: bytes) -> None:
        pass

    def abort(self) -> None:
        pass


class Owner:
    """The agent's and the queue's side, as small as it can be."""

    transport, next_hop = b"smtp", b"[192.0.2.1]"

    def __init__(self) -> None:
        self.ready: deque[Delivery] = deque()
        self.done = 0

    def report(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        self.done += 1

    def clock(self) -> float:
        return 1.0

    def now(self) -> float:
        return 1.0

    def take(self) -> Delivery | None:
        return self.ready.popleft() if self.ready else None

    def succeeded(self) -> None:
        pass

    def run_ended(self, dialogue: Any, queue: Any) -> None:
        pass


def make_deliveries() -> list[Delivery]:
    return [make_delivery(b"[192.0.2.1]", content=(b"x" * 4096,)) for _ in range(MESSAGES)]


def compiled(deliveries: list[Delivery]) -> int:
    owner = Owner()
    owner.ready.extend(deliveries)
    peer = Peer.of(Server("192.0.2.1", "192.0.2.1", 25))
    features = Features(pipelining=True, size=0, eight_bit_mime=True)
    dialogue = Dialogue(owner, smtp_settings(), (b"smtp", b"x"), peer, features, Transport(), 0.0)
    dialogue.run(owner)
    dialogue.data_received(REPLIES[END:])
    dialogue.data_received(REPLIES[:END])  # nothing is sent ahead until one message was stored fast
    dialogue.data_received(REPLIES[END:])
    for _ in range(MESSAGES - 2):
        dialogue.data_received(REPLIES)
    dialogue.data_received(REPLIES[:END])
    return owner.done


class Plain:
    """What the dialogue does on its usual path, in obvious Python."""

    def __init__(self, owner: Owner, transport: Transport) -> None:
        self.owner, self.transport = owner, transport
        self.current: Delivery | None = None

    def envelope(self, delivery: Delivery) -> bytes:
        letter = delivery.message.envelope
        recipients = b"".join(b"RCPT TO:<%s>\r\n" % address for address in delivery.addresses)
        return b"MAIL FROM:<%s> SIZE=%d\r\n%sDATA\r\n" % (letter.sender, letter.size, recipients)

    def run(self) -> None:
        self.current = self.owner.take()
        assert self.current is not None
        self.transport.write(self.envelope(self.current))
        self.awaited = len(self.current.addresses) + 2

    def data_received(self, data: bytes) -> None:
        for line in data.split(b"\r\n")[:-1]:
            code = int(line[:3])
            if self.awaited == 0:
                delivery = self.previous
                outcomes = [
                    Outcome(i, Status.SENT, b"2.0.0", line, b"relay", 0.0, 0.0, b"host", line)
                    for i in delivery.recipients
                ]
                self.owner.report(delivery, outcomes)
                self.awaited = len(self.current.addresses) + 2 if self.current else -1
                continue
            assert code in (250, 354)
            self.awaited -= 1
        if self.current is not None:
            content = self.current.message.content
            assert content is not None
            self.previous, self.current = self.current, self.owner.take()
            tail = self.envelope(self.current) if self.current else b""
            self.transport.write(b"".join([*content, b".\r\n", tail]))


def plain(deliveries: list[Delivery]) -> int:
    owner = Owner()
    owner.ready.extend(deliveries)
    dialogue = Plain(owner, Transport())
    dialogue.run()
    dialogue.data_received(REPLIES[END:])
    for i in range(MESSAGES):
        dialogue.data_received(REPLIES if i < MESSAGES - 1 else REPLIES[:END])
    return owner.done


@pytest.mark.parametrize("way", [compiled, plain])
def test_thousand_messages(benchmark: Any, way: Any) -> None:
    done = benchmark.pedantic(way, setup=lambda: ((make_deliveries(),), {}), rounds=20)
    assert done == MESSAGES
