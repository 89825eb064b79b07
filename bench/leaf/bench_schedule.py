"""The scheduler: messages of one recipient are added, get slots, are taken and end; and the same behind a list.

python -m pytest -o addopts= bench/leaf/bench_schedule.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "qmgr"))
from qmgr_parts import House

from fastrelay.borders import Envelope, Recipient
from fastrelay.qmgr.message import ActiveMessage, QueuedDelivery

MESSAGES = 5000


class Slots:
    """An agent that takes all there is, in the slots that it was given."""

    def __init__(self) -> None:
        self.open: list[Any] = []

    def open_slot(self, queue: Any) -> None:
        self.open.append(queue)

    def deliver(self) -> int:
        done = 0
        queues, self.open = self.open, []
        for queue in queues:
            while queue.take() is not None:
                queue.finished(0.01)
                queue.succeeded()
                done += 1
            queue.release()
        return done


def make_message(house: Any, number: int, addresses: list[bytes]) -> tuple[Any, list[bytes]]:
    envelope = Envelope(b"s@x.test", [Recipient(address) for address in addresses], house.now)
    message = ActiveMessage.__new__(ActiveMessage)
    message.begin(SimpleNamespace(message_id=number), b"Q", envelope, None, house.now + number, False)
    return message, addresses


def schedule(house: Any, agent: Slots, messages: list[tuple[Any, list[bytes]]]) -> None:
    scheduler = house.manager.scheduler
    transport = scheduler.transport(b"smtp")
    left = 0
    for message, addresses in messages:
        deliveries = []
        for index, address in enumerate(addresses):
            destination = transport.destination(address.rpartition(b"@")[2], address)
            delivery = QueuedDelivery.__new__(QueuedDelivery)
            delivery.begin(message, destination, [index], [address])
            deliveries.append(delivery)
        left += len(deliveries)
        if len(deliveries) == 1:
            scheduler.add(deliveries[0])
        else:
            scheduler.add_message(deliveries)
    while left:
        scheduler.pump()
        left -= agent.deliver()


@pytest.mark.parametrize("listed", [0, 1000], ids=["singles", "behind a list"])
@pytest.mark.parametrize("domains", [1, 50, 5000])
def bench_schedule(benchmark: Any, domains: int, listed: int) -> None:
    house = House(process_limit=100)
    agent: Any = Slots()
    house.agent.open_slot = agent.open_slot
    messages = (
        [make_message(house, 0, [b"u%d@d%d.test" % (n, n % domains) for n in range(listed)])]
        if listed
        else []
    )
    messages += [make_message(house, n, [b"u@d%d.test" % (n % domains)]) for n in range(1, MESSAGES + 1)]
    benchmark.extra_info["messages"] = MESSAGES
    benchmark(schedule, house, agent, messages)
