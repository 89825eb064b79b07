"""Threads that tables ask in end when nobody asks, as nobody does of a table that a reload has replaced."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from fastrelay.tables import TableError, open_table, threads
from fastrelay.tables.pending import answer
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.threads import Threads


def named(name: str) -> int:
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


async def gone(name: str) -> None:
    for _ in range(500):
        if not named(name):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{named(name)} threads {name} stay")


def test_idle_threads_end_and_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.05)
    ended: list[str] = []

    async def scene() -> None:
        some = Threads(3, "idle-test", lambda: ended.append(threading.current_thread().name))
        for round_number in (1, 2):
            await asyncio.gather(*(some.run(time.sleep, 0.02) for _ in range(3)))
            assert 0 < named("idle-test") <= 3
            await gone("idle-test")
            assert len(ended) == round_number and all(name.startswith("idle-test") for name in ended)
        busy = asyncio.create_task(some.run(time.sleep, 0.3))
        await asyncio.sleep(0.2)
        assert named("idle-test") == 1
        await busy
        some.close()
        await gone("idle-test")

    asyncio.run(scene())


def test_an_sqlite_table_lets_go_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.05)
    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("CREATE TABLE t (k TEXT, v TEXT)")
        database.execute("INSERT INTO t VALUES ('bob', 'x')")
    database.close()
    (tmp_path / "cf").write_text(f"dbpath = {tmp_path}/db\nquery = SELECT v FROM t WHERE k = '%s'\n")

    def is_open() -> bool:
        return any(str(tmp_path / "db") == str(fd.resolve()) for fd in Path("/proc/self/fd").iterdir())

    async def scene() -> None:
        table = open_table(f"sqlite:{tmp_path}/cf")
        for key in (b"bob", b"none"):
            assert (await answer(table.get, key) is None) is (key == b"none")
            assert is_open()
            await gone("sqlite")
            assert not is_open()

    asyncio.run(scene())


def test_a_query_without_end_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "db").touch()
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    (tmp_path / "cf").write_text(f"dbpath = {tmp_path}/db\nquery = {endless} WHERE '%s' <> ''\n")

    async def scene() -> None:
        table = open_table(f"sqlite:{tmp_path}/cf")
        assert isinstance(table, RemoteTable)
        with pytest.raises(TableError, match="more than 10000 values"):
            await answer(table.get, b"k")
        await table.close()

    asyncio.run(scene())
