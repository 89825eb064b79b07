"""What a server answers: replies of any kind to the commands of a delivery, in one read a reply and byte by byte.

Each delivery is reported once or handed back, each run ends once, and the verdicts do not depend on the reads.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from fastrelay.borders import Delivery, Outcome, Status
from fastrelay.delivery._dialogue import Dialogue
from fastrelay.delivery.session import Features, Peer
from support.smtp_delivery import make_delivery, smtp_settings

PEER = Peer(b"mx.test", b"mx.test[192.0.2.1]", b"mx.test[192.0.2.1]:25", ("192.0.2.1", 25))
REPLY_END = re.compile(rb"(?<=\n)")
SETTINGS = smtp_settings()


class Agent:
    """Keeps what it is told; its clock stands still."""

    def __init__(self) -> None:
        self.reported: list[tuple[Delivery, list[Outcome]]] = []
        self.ended = self.lost = 0

    def report(self, delivery: Delivery, outcomes: list[Outcome]) -> None:
        self.reported.append((delivery, list(outcomes)))

    def now(self) -> float:
        return 1000.0

    clock = now

    def log(self, line: bytes) -> None:
        raise AssertionError(line)

    def run_ended(self, dialogue: Any, queue: Any) -> None:
        self.ended += 1

    def closed(self, dialogue: Any) -> None:
        self.lost += 1


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.closed = True

    close = abort


class Queue:
    def __init__(self, deliveries: list[Delivery]) -> None:
        self.ready = deque(deliveries)
        self.next_hop, self.transport = b"there.test", b"smtp"

    def take(self) -> Delivery | None:
        return self.ready.popleft() if self.ready else None

    def succeeded(self) -> None:
        pass

    def failed(self, outcome: Outcome) -> None:
        assert outcome.status is not Status.SENT


def converse(bits: int, reads: list[bytes]) -> tuple[object, ...]:
    agent, transport = Agent(), Transport()
    features = Features(pipelining=bool(bits & 1), size=0 if bits & 2 else None, dsn=bool(bits & 4))
    people = ((b"a@there.test",), (b"b@there.test", b"c@there.test", b"d@there.test"), (b"e@there.test",))
    deliveries = [make_delivery(b"there.test", *group) for group in people]
    dialogue = Dialogue(agent, SETTINGS, (b"smtp", b"there.test"), PEER, features, transport, 1000.0)
    dialogue.more = bool(bits & 8)
    queue = Queue(deliveries)
    dialogue.run(queue)
    for read in reads:
        dialogue.data_received(read)
    dialogue.connection_lost(None)
    assert agent.ended == 1 and agent.lost == 1
    unfinished = [t.delivery for t in dialogue.take_unfinished() or ()]
    told = [delivery for delivery, _ in agent.reported] + unfinished
    assert sorted(map(id, [*told, *queue.ready])) == sorted(map(id, deliveries))
    for delivery, outcomes in agent.reported:
        assert [o.recipient for o in outcomes] == delivery.recipients
        for outcome in outcomes:
            assert (
                outcome.dsn[:1]
                == {Status.SENT: b"2", Status.DEFERRED: b"4", Status.BOUNCED: b"5"}[outcome.status]
            )
            assert all(32 <= byte < 127 for byte in outcome.text)
    verdicts = [[(o.recipient, o.status, o.dsn) for o in outcomes] for _, outcomes in agent.reported]
    return verdicts, len(unfinished), len(queue.ready), b"".join(transport.written)


def replies(data: bytes) -> None:
    bits, stream = data[0] if data else 0, data[1:]
    reads: list[bytes] = []
    for line in REPLY_END.split(stream):
        if reads and reads[-1][-1:] != b"":
            reads[-1] += line
        elif line:
            reads.append(line)
        if line and line[3:4] != b"-":
            reads.append(b"")
    reads = [read for read in reads if read]
    assert b"".join(reads) == stream
    single = [stream[i : i + 1] for i in range(len(stream))]
    assert converse(bits, reads) == converse(bits, single)


def seeds() -> dict[str, list[bytes]]:
    one = b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 go\r\n250 2.0.0 Ok: queued\r\n"
    several = (
        b"250 Ok\r\n250 Ok\r\n550 5.1.1 no\r\n450-4.2.0 a\r\n450 later\r\n354 go\r\n250-2.0.0 x\r\n250 y\r\n"
    )
    return {
        "replies": [
            *(bytes([bits]) + one + several + one for bits in range(16)),
            *(bytes([9]) + text for text in (b"421 4.3.2 bye\r\n", b"220 x\r\n", b"999\r\n", b"250", one + b"421 x\r\n",
                                             b"250-" + b"x" * 3000, b"250 ok\r\n554 5.5.0 no\r\n503 no\r\n250 r\r\n")),
        ]
    }  # fmt: skip


TARGETS = {"replies": replies}
