"""Pending lookups and what all remote tables share: cache, single flight, deadline, bounds, failures."""

import asyncio
import dataclasses

import pytest

from fastrelay.tables import TableError, pending
from fastrelay.tables.options import Options, Surroundings, TableSettings
from fastrelay.tables.pending import Pending, answer, ask, ask_each
from fastrelay.tables.remote import RemoteTable


class Slow(RemoteTable):
    """A server that is a dictionary; `gate` holds its answers back."""

    type = "slow"

    def __init__(self, said=None, **limits):
        settings = dataclasses.replace(TableSettings(), **limits)
        around = Surroundings(settings, complain=(said if said is not None else []).append)
        super().__init__("test", Options(around=around))
        self.asked = []
        self.values = {b"a": b"1", b"b": b"2"}
        self.failure = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, key):
        self.asked.append(key)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.values.get(key)


def run(test):
    return asyncio.run(asyncio.wait_for(test, 100))


def test_an_answer_is_fetched_once_and_then_kept():
    async def scene():
        table = Slow()
        with pytest.raises(Pending):
            table.get(b"A")
        assert await answer(table.get, b"a") == b"1"
        assert table.get(b"a") == table.get(b"A") == b"1"
        assert await answer(table.get, b"none") is None
        assert table.get(b"none") is None
        assert table.asked == [b"a", b"none"]
        assert ask(table.get, b"a") == b"1"

    run(scene())


def test_many_who_ask_at_once_make_one_lookup():
    async def scene():
        table = Slow()
        table.gate.clear()
        asking = [asyncio.ensure_future(ask(table.get, b"a")) for _ in range(50)]
        await asyncio.sleep(0)
        asking[0].cancel()  # one goes away: the others get their answer
        table.gate.set()
        assert await asyncio.gather(*asking[1:]) == [b"1"] * 49
        assert table.asked == [b"a"]

    run(scene())


def test_an_evaluation_ends_though_nothing_may_be_kept():
    async def scene():
        table = Slow(fastrelay_table_cache_time=0.0, fastrelay_table_negative_cache_time=0.0)

        def both():
            return (table.get(b"a"), table.get(b"none"), table.get(b"b"))

        assert await answer(both) == (b"1", None, b"2")
        assert table.asked == [b"a", b"none", b"b"]
        with pytest.raises(Pending):
            table.get(b"a")

    run(scene())


def test_an_evaluation_ends_though_the_cache_is_too_small():
    async def scene():
        table = Slow(fastrelay_table_cache_limit=1)
        table.values = {b"%d" % n: b"x" for n in range(20)}
        keys = list(table.values)
        assert await answer(lambda: [table.get(key) for key in keys]) == [b"x"] * 20
        assert table.asked == keys
        assert table.get(b"19") == b"x"
        with pytest.raises(Pending):
            table.get(b"18")

    run(scene())


def test_what_was_used_last_stays_in_the_cache():
    async def scene():
        table = Slow(fastrelay_table_cache_limit=2)
        await answer(table.get, b"a")
        await answer(table.get, b"b")
        table.get(b"a")
        await answer(table.get, b"c")
        assert table.get(b"a") == b"1"
        with pytest.raises(Pending):
            table.get(b"b")

    run(scene())


def test_lookups_of_a_list_start_together():
    async def scene():
        table = Slow()
        table.gate.clear()
        waiting = asyncio.ensure_future(ask(ask_each, table.get, [b"a", b"b", b"none"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert table.asked == [b"a", b"b", b"none"]
        table.gate.set()
        assert await waiting == [b"1", b"2", None]

    run(scene())


def test_a_search_without_end_is_an_error(monkeypatch):
    monkeypatch.setattr(pending, "ROUNDS", 100)

    async def scene():
        table = Slow()

        def endless():
            for number in range(110):
                table.get(b"%d" % number)

        with pytest.raises(TableError, match="lookups for one answer"):
            await answer(endless)

    run(scene())


def test_a_failing_server_is_no_answer_and_rests_a_moment(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("fastrelay.tables.remote.monotonic", lambda: now[0])

    async def scene():
        said = []
        table = Slow(said, fastrelay_table_retry_time=5.0)
        await answer(table.get, b"a")
        table.failure = ConnectionRefusedError(111, "Connection refused")
        for key in (b"b", b"c", b"d"):
            with pytest.raises(TableError, match="slow:test: Connection refused"):
                await answer(table.get, key)
        assert table.asked == [b"a", b"b"]
        assert said == ["slow:test: Connection refused"]
        assert table.get(b"a") == b"1"
        table.failure = None
        now[0] += 5.1
        assert await answer(table.get, b"b") == b"2"
        assert await answer(table.get, b"c") is None

    run(scene())


def test_the_failure_of_one_key_leaves_the_others_alone():
    async def scene():
        table = Slow()
        table.failure = TableError("", "too much", unavailable=False)
        for _ in range(3):
            with pytest.raises(TableError, match="too much"):
                await answer(table.get, b"a")
        assert table.asked == [b"a"]
        table.failure = None
        assert await answer(table.get, b"b") == b"2"

    run(scene())


def test_a_stalled_server_is_an_error_after_the_deadline():
    async def scene():
        said = []
        table = Slow(said, fastrelay_table_timeout=0.1)
        table.gate.clear()
        with pytest.raises(TableError, match="no answer within"):
            await answer(table.get, b"a")
        assert said == ["slow:test: no answer within 0.1 seconds"]

    run(scene())


def test_lookups_under_way_are_bounded():
    async def scene():
        table = Slow(fastrelay_table_lookup_limit=2)
        table.gate.clear()
        waiting = [asyncio.ensure_future(ask(table.get, key)) for key in (b"a", b"b")]
        with pytest.raises(TableError, match="too many lookups"):
            table.get(b"c")
        table.gate.set()
        assert await asyncio.gather(*waiting) == [b"1", b"2"]
        assert await answer(table.get, b"c") is None

    run(scene())


def test_an_odd_error_of_a_library_is_a_failure_too():
    async def scene():
        table = Slow()
        table.failure = IndexError("list index\nout of range")
        with pytest.raises(TableError, match="slow:test: IndexError: list index out of range"):
            await answer(table.get, b"a")

    run(scene())


def test_a_value_that_is_not_utf8_is_an_error():
    async def scene():
        table = Slow()
        table.values[b"a"] = b"\xff"
        with pytest.raises(TableError, match="non-UTF-8 value"):
            await answer(table.get, b"a")
        assert await answer(table.get, b"\xff") is None
        assert table.asked == [b"a"]

    run(scene())
