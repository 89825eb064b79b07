"""A look-up in each kind of table: 2 us at most in LMDB, hit or miss, in a million keys; 5 us for a kept answer."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from fastrelay.tables import AddressMatcher, DomainMatcher, open_table
from fastrelay.tables.build import Form, Ownership, Sorter, build
from fastrelay.tables.pending import answer
from fastrelay.tables.table import Table

KEYS = 1_000_000
ROUND = 1000


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Table:
    path = tmp_path_factory.mktemp("bench") / "million"
    sorter = Sorter(str(path.parent))
    for i in range(KEYS):
        sorter.add(b"user%d@customer.example\0" % (i * 7919 % KEYS), i, b"OK\0")
    build(f"{path}.lmdb", sorter, Form(), Ownership(0o644, None), lambda line, key: None)
    sorter.close()
    return open_table(f"hash:{path}")


def ask(get, keys) -> None:
    for key in keys:
        get(key)


@pytest.mark.parametrize("name", ["hit", "miss", "upper"])
def bench_lmdb(benchmark, million: Table, name: str) -> None:
    form = {
        "hit": b"user%d@customer.example",
        "miss": b"none%d@customer.example",
        "upper": b"USER%d@Customer.Example",
    }
    keys = [form[name] % (i * 104_729 % KEYS) for i in range(ROUND)]
    assert (million.get(keys[0]) is None) == (name == "miss")
    benchmark.extra_info["lookups_a_round"] = ROUND
    benchmark(ask, million.get, keys)


def bench_mynetworks(benchmark) -> None:
    matcher = AddressMatcher("127.0.0.0/8 [::1]/128 10.0.0.0/8 192.168.0.0/16 !172.16.5.0/24 172.16.0.0/12")
    benchmark(ask, matcher.matches, [b"192.0.2.%d" % (i % 250) for i in range(ROUND)])


def bench_relay_domains(benchmark) -> None:
    matcher = DomainMatcher([f"domain{i}.example" for i in range(5000)], True)
    benchmark(ask, matcher.matches, [b"mail.domain%d.example" % (i * 7 % 6000) for i in range(ROUND)])


def bench_remote_answer_that_is_kept(benchmark, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE t (k TEXT, v TEXT)")
        connection.executemany(
            "INSERT INTO t VALUES (?, 'OK')", [(f"user{i}@c.example",) for i in range(500)]
        )
    (tmp_path / "t.cf").write_text(f"dbpath = {tmp_path}/t.db\nquery = SELECT v FROM t WHERE k = '%s'\n")
    table = open_table(f"sqlite:{tmp_path}/t.cf")
    keys = [b"User%d@C.example" % i for i in range(ROUND)]

    async def learn() -> None:
        for key in keys:
            await answer(table.get, key)
        await table.close()

    asyncio.run(learn())
    benchmark(ask, table.get, keys)
