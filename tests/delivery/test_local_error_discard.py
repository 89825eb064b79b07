"""error(8), retry(8), discard(8), and the slot loop that all local agents share."""

import asyncio

import pytest
from mailbox_parts import OneQueue, make_delivery, run

from fastrelay.borders import Outcome, Status
from fastrelay.delivery.discard import DiscardAgent
from fastrelay.delivery.error import ErrorAgent
from fastrelay.delivery.slots import SlotAgent


@pytest.mark.parametrize(
    ("make", "next_hop", "status", "dsn", "text"),
    [
        (ErrorAgent, b"5.1.2 no such host", Status.BOUNCED, b"5.1.2", b"no such host"),
        (ErrorAgent, b"gone", Status.BOUNCED, b"5.0.0", b"gone"),
        (ErrorAgent, b"4.1.2 no class of its own", Status.BOUNCED, b"5.1.2", b"no class of its own"),
        (ErrorAgent, b"5.1.2222 odd", Status.BOUNCED, b"5.0.0", b"5.1.2222 odd"),
        (lambda report: ErrorAgent(report, retry=True), b"later", Status.DEFERRED, b"4.0.0", b"later"),
        (lambda report: ErrorAgent(report, retry=True), b"4.3.2 off", Status.DEFERRED, b"4.3.2", b"off"),
        (DiscardAgent, b"not wanted", Status.SENT, b"2.0.0", b"not wanted"),
    ],
)
def test_next_hop_is_the_reason(make, next_hop, status, dsn, text):
    [outcomes] = run(make, make_delivery(b"u@x", b"v@x", next_hop=next_hop))
    for i, outcome in enumerate(outcomes):
        assert (outcome.recipient, outcome.status, outcome.dsn, outcome.text, outcome.relay) == (
            i,
            status,
            dsn,
            text,
            b"none",
        )


def test_a_slot_takes_until_there_is_none():
    reports = run(DiscardAgent, *(make_delivery(b"u@x") for _ in range(5)))
    assert len(reports) == 5


def test_a_fault_of_ours_is_heard_and_the_slot_closed():
    async def broken(delivery):
        raise ValueError("ours")

    async def go():
        heard = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: heard.append(context["exception"])
        )
        queue = OneQueue(make_delivery(b"u@x"))
        SlotAgent(broken, lambda *_: None).open_slot(queue)
        await asyncio.wait_for(queue.done.wait(), 60)
        async with asyncio.timeout(60):
            while not heard:
                await asyncio.sleep(0.01)
        return queue.released, heard

    released, heard = asyncio.run(go())
    assert released == 1
    assert [str(error) for error in heard] == ["ours"]


def test_close_waits_for_deliveries_under_way():
    finished = []

    async def slow(delivery):
        await asyncio.sleep(0.05)
        finished.append(delivery)
        return [Outcome(0, Status.SENT, b"2.0.0", b"ok")]

    async def go():
        agent = SlotAgent(slow, lambda *_: None)
        agent.open_slot(OneQueue(make_delivery(b"u@x")))
        await agent.close()

    asyncio.run(go())
    assert len(finished) == 1
