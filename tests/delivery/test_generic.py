"""smtp_generic_maps before an agent: mapped copies go in, originals are reported, each once, whatever happens."""

import asyncio

import pytest

from fastrelay.borders import Delivery, Envelope, Outcome, QueuedMessage, Recipient, Status
from fastrelay.delivery.generic import GenericAgent, GenericMap
from fastrelay.rewrite._address import Address
from fastrelay.rewrite.mapping import MappingFailed, Trouble
from fastrelay.tables.pending import Pending, recall


class Table:
    """An AddressTable: `late` answers when its event is set, `sick` not at all."""

    title, label = b"smtp_generic_maps", "late:"

    def __init__(self):
        self.gate = asyncio.Event()

    def find(self, address, warnings):
        if address.local == b"sick":
            warnings.add(b"a problem")
            raise MappingFailed(Trouble.LOOKUP, warnings)
        if address.local == b"late" and recall(self, b"late") is None:
            raise Pending({(self, b"late"): asyncio.ensure_future(self._answer())})
        if address.local == b"many":
            return [Address(b"one", b"to"), Address(b"two", b"to")]
        return None if address.local == b"plain" else [Address(address.local, b"to")]

    async def _answer(self):
        await self.gate.wait()
        return b""


class Queue:
    """The scheduler's side of one slot."""

    transport, next_hop = b"smtp", b"there"

    def __init__(self, *locals_):
        self.waiting = [delivery(name) for name in locals_]
        self.released = 0

    def take(self):
        return self.waiting.pop(0) if self.waiting else None

    def release(self):
        self.released += 1

    def succeeded(self):
        """Not looked at."""

    def failed(self, outcome):
        """Not looked at."""


class Agent:
    """Delivers all that there is at once; `lazy`: lets go of a slot without a look at it."""

    def __init__(self, report):
        self.report = report
        self.delivered = []
        self.lazy = False

    def open_slot(self, queue):
        while not self.lazy and (taken := queue.take()) is not None:
            taken.started = 1.0
            self.delivered.append((taken.message.envelope.sender, taken.addresses))
            self.report(taken, [Outcome(i, Status.SENT, b"2.0.0", b"sent") for i in taken.recipients])
        queue.release()

    async def close(self):
        self.lazy = True


def delivery(local):
    envelope = Envelope(b"plain@from" if local == b"plain" else b"s@from", [Recipient(local + b"@x")], 0.0)
    message = QueuedMessage(None, b"ID", envelope, [], list)
    return Delivery(message, b"smtp", b"there", [0], [local + b"@x"])


class Lab:
    def __init__(self):
        self.reports, self.warnings = [], []
        self.table = Table()
        self.outer = GenericAgent(GenericMap(self.table), self._make, self._report, self.warnings.append)

    def _make(self, report):
        self.agent = Agent(report)
        return self.agent

    def _report(self, delivery, outcomes):
        status = [(delivery.addresses, outcome.status, outcome.text) for outcome in outcomes]
        self.reports += status
        assert delivery.message.envelope.sender.endswith(b"@from")


@pytest.fixture
def run():
    def run(body):
        async def inside():
            await body(Lab())

        asyncio.run(inside())

    return run


def test_mapped_copies_go_out_and_originals_are_reported(run):
    async def body(lab):
        queue = Queue(b"a", b"plain", b"many")
        lab.outer.open_slot(queue)
        assert lab.agent.delivered == [
            (b"s@to", [b"a@to"]),
            (b"plain@from", [b"plain@x"]),
            (b"s@to", [b"one@to"]),
        ]
        assert [addresses for addresses, _, _ in lab.reports] == [[b"a@x"], [b"plain@x"], [b"many@x"]]
        assert lab.warnings == [b"multi-valued smtp_generic_maps result for many@x"]
        assert queue.released == 1

    run(body)


def test_a_table_that_fails_defers_and_the_slot_goes_on(run):
    async def body(lab):
        queue = Queue(b"sick", b"a")
        lab.outer.open_slot(queue)
        assert lab.reports[0] == ([b"sick@x"], Status.DEFERRED, b"smtp_generic_maps lookup error")
        assert lab.agent.delivered == [(b"s@to", [b"a@to"])]
        assert lab.warnings == [b"ID: a problem"]
        assert queue.released == 1

    run(body)


def test_a_table_that_is_waited_for_keeps_the_slot(run):
    async def body(lab):
        queue = Queue(b"late", b"a")
        lab.outer.open_slot(queue)
        assert (lab.agent.delivered, queue.released) == ([], 0)
        lab.table.gate.set()
        async with asyncio.timeout(60):
            while not queue.released:
                await asyncio.sleep(0)
        assert [addresses for _, addresses in lab.agent.delivered] == [[b"late@to"], [b"a@to"]]
        assert queue.released == 1

    run(body)


def test_what_was_taken_is_given_back_when_the_agent_stops(run):
    async def body(lab):
        queue = Queue(b"late")
        lab.outer.open_slot(queue)
        await lab.outer.close()
        lab.table.gate.set()
        async with asyncio.timeout(60):
            while not queue.released:
                await asyncio.sleep(0)
        assert lab.reports == [([b"late@x"], Status.DEFERRED, b"delivery agent stopped")]
        assert queue.released == 1

    run(body)
