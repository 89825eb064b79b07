"""A message whose tables must be waited for: others go on, it follows when the answer is there, or is deferred."""

import asyncio

import pytest
from qmgr_parts import House

from fastrelay.borders import Route, Status
from fastrelay.qmgr.activation import RESOLVER_FAILURE
from fastrelay.tables.pending import Pending, recall


class SlowHouse(House):
    """Addresses at slow.test are looked up far away: `answers` are what comes."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.table = _Label()
        self.answers: dict[bytes, asyncio.Future] = {}
        self.asked: list[bytes] = []

    def resolve(self, address, sender):
        if not address.endswith(b"@slow.test"):
            return super().resolve(address, sender)
        known = recall(self.table, address)
        if known is None:
            if address not in self.answers:
                self.asked.append(address)
                self.answers[address] = asyncio.get_running_loop().create_future()
            raise Pending({(self.table, address): self.answers[address]})
        if known[0] is None:
            raise LookupError("table is broken")
        return Route(b"smtp", known[0], address)

    async def follow(self):
        """Run what waits beside, as the worker's loop does."""
        tasks = [asyncio.ensure_future(work) for work in self.beside]
        self.beside.clear()
        await asyncio.gather(*tasks)


class _Label:
    label = "far:away"


def run(scene):
    asyncio.run(asyncio.wait_for(scene, 100))


def test_others_go_on_and_it_follows():
    async def scene():
        house = SlowHouse()
        house.accept(b"a@slow.test")
        house.accept(b"b@one.test")
        house.deliver_everything()
        assert [address for address, _ in house.outcomes] == [b"b@one.test"]
        assert len(house.manager.active) == 1
        house.answers[b"a@slow.test"].set_result(b"next.test")
        await house.follow()
        house.pump()
        house.agent.take_all()
        ((_, delivery),) = house.agent.taken
        assert delivery.next_hop == b"next.test"
        house.agent.succeed_all()
        house.deliver_everything()
        assert not house.manager.active
        assert house.lines[-1] == b"Q1: removed"

    run(scene())


def test_all_recipients_are_looked_up_together():
    async def scene():
        house = SlowHouse()
        house.accept(b"a@slow.test", b"b@one.test", b"c@slow.test")
        assert house.asked == [b"a@slow.test", b"c@slow.test"]
        for address in house.asked:
            house.answers[address].set_result(b"next.test")
        await house.follow()
        house.deliver_everything()
        assert sorted(address for address, _ in house.outcomes) == [
            b"a@slow.test",
            b"b@one.test",
            b"c@slow.test",
        ]
        assert not house.manager.active

    run(scene())


def test_a_table_that_fails_defers():
    async def scene():
        house = SlowHouse()
        house.accept(b"a@slow.test")
        house.answers[b"a@slow.test"].set_result(None)
        await house.follow()
        ((_, outcome),) = house.outcomes
        assert (outcome.status, outcome.dsn, outcome.text) == (
            Status.DEFERRED,
            RESOLVER_FAILURE.dsn,
            RESOLVER_FAILURE.text,
        )
        assert not house.manager.active

    run(scene())


@pytest.mark.parametrize("act", ["delete", "hold", "requeue"])
def test_what_an_operator_did_meanwhile_holds(act):
    async def scene():
        house = SlowHouse()
        entry = house.accept(b"a@slow.test")
        getattr(house.manager, act)(entry)
        assert not house.manager.active
        house.answers[b"a@slow.test"].set_result(b"next.test")
        await house.follow()
        assert not house.manager.active
        house.advance(1)
        await house.follow()
        house.deliver_everything()
        assert len(house.outcomes) == (1 if act == "requeue" else 0)

    run(scene())


def test_messages_that_wait_count_against_the_limit():
    async def scene():
        house = SlowHouse(qmgr_message_active_limit=4)
        for number in range(10):
            house.accept(b"%d@slow.test" % number)
        assert len(house.manager.active) == 3  # a quarter is for retries
        for future in house.answers.values():
            future.set_result(b"next.test")
        for _ in range(10):
            await house.follow()
            house.deliver_everything()
            house.advance(1)
            for future in house.answers.values():
                if not future.done():
                    future.set_result(b"next.test")
        assert len(house.outcomes) == 10

    run(scene())
