"""A look-up in large tables beside Debian's `postmap -q -` with the same keys: `ratio` is ours to theirs, CPU time.

Theirs is a stream of the keys less a stream of none, so that neither start nor reading of the table counts; our
keys go straight to get(), as from the receive path. 5,000 rules of regexp: may take three times what postmap
needs, of cidr: 5 us, and LMDB 2 us.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "tables"))

from tables_tools import Tools, needs_postmap

from fastrelay.tables import open_table

pytestmark = [needs_postmap, pytest.mark.benchmark(timer=time.process_time)]

RULES = 5000
ADDRESSES = [b"user%d@customer%d.example" % (i * 7919 % RULES, i % 60) for i in range(100)]
CLIENTS = [b"10.%d.%d.%d" % (i % 60, i * 7 % 120, i % 256) for i in range(100)]


def addresses(form: str) -> str:
    return "".join(form.format(i * 7919 % RULES, i % 50) + f" v{i}\n" for i in range(RULES))


def cidr_plain() -> str:
    return "".join(f"10.{a}.{b}.0/{24 + a % 3} OK\n" for a, b in itertools.product(range(50), range(100)))


def cidr_mixed() -> str:
    """Rules in ifs and negated ones: nothing that one index of networks could hold."""
    blocks = (
        f"if 10.{a}.0.0/16\nif !10.{a}.{b}.128/25\n10.{a}.{b}.0/24 in\nendif\n!10.0.0.0/7 x\nendif\n"
        for a, b in itertools.product(range(25), range(50))
    )
    return "".join(blocks)


def keys_and_values(form: str) -> str:
    return "".join(form.format(i, i % 60) + f" v{i}\n" for i in range(200_000))


CASES: dict[str, tuple[str, str, list[bytes]]] = {
    "regexp, addresses": ("regexp", addresses(r"/^user{}@customer{}\.example$/"), ADDRESSES),
    "regexp, classes": (
        "regexp",
        addresses(r"/^(x+)?user{}[0-9]*@(.*\.)?customer{}\.(example|test)$/"),
        ADDRESSES,
    ),
    "regexp, words": ("regexp", addresses(r"/spam{}word[0-9]+.*(money|offer){}/"), ADDRESSES),
    "regexp, no texts": ("regexp", addresses("/^[^@]{{1}}[aeiou]?@{}[.]{}$/x"), ADDRESSES[:20]),
    "pcre, addresses": ("pcre", addresses(r"/^user{}@customer{}\.example$/"), ADDRESSES),
    "pcre, words": ("pcre", addresses(r"/spam{}word\d+.*(?:money|offer){}/"), ADDRESSES),
    "pcre, no texts": ("pcre", addresses(r"/^[^@][a-z]{{2}}\d+[{}]{{3}}x?[{}]@/"), ADDRESSES[:20]),
    "cidr, plain": ("cidr", cidr_plain(), CLIENTS),
    "cidr, if and !": ("cidr", cidr_mixed(), CLIENTS),
    "lmdb": ("lmdb", keys_and_values("user{}@customer{}.example"), ADDRESSES),
    "cdb": ("cdb", keys_and_values("user{}@customer{}.example"), ADDRESSES),
    "texthash": ("texthash", keys_and_values("user{}@customer{}.example"), ADDRESSES),
}


def ask(get: Callable[[bytes], bytes | None], keys: Iterable[bytes]) -> None:
    for key in keys:
        get(key)


def seconds_of(tools: Tools, table: str, keys: bytes) -> float:
    """CPU time of one postmap, the lower of two."""
    found = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        tools.postfix("-q", "-", table, stdin=keys)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


@pytest.mark.parametrize("case", CASES)
def bench_table(benchmark, tmp_path: Path, case: str) -> None:
    kind, source, keys = CASES[case]
    tools = Tools(tmp_path)
    tools.write("t", source)
    if kind in ("lmdb", "cdb"):
        assert tools.postfix(f"{kind}:t").status == 0
    table = open_table(f"{kind}:{tmp_path}/t")
    assert table.problem is None and table.warnings == []
    stream = b"\n".join(keys) + b"\n"
    found = tools.postfix("-q", "-", f"{kind}:t", stdin=stream).out
    assert found == b"".join(
        b"%s\t%s\n" % (key, value) for key in keys if (value := table.get(key)) is not None
    )
    repeated = 1 if kind in ("regexp", "pcre") else 100  # enough keys to see among the time of the start
    theirs = seconds_of(tools, f"{kind}:t", stream * repeated) - seconds_of(tools, f"{kind}:t", b"")
    benchmark.pedantic(
        ask, (table.get, keys), rounds=5, iterations=1 if "no texts" in case else 5, warmup_rounds=1
    )
    if benchmark.stats is not None:
        ours = benchmark.stats.stats.min / len(keys)
        benchmark.extra_info["us_a_lookup"] = round(ours * 1e6, 2)
        benchmark.extra_info["postmap_us"] = round(theirs / repeated / len(keys) * 1e6, 2)
        benchmark.extra_info["ratio"] = round(ours / (theirs / repeated / len(keys)), 3)


def bench_lmdb_opened_many_times(benchmark, tmp_path: Path) -> None:
    """Ten tables opened and asked once each: what a command-line tool or a reload pays."""
    tools = Tools(tmp_path)
    for number in range(10):
        tools.write(f"t{number}", keys_and_values("user{}@customer{}.example")[:1_000_000])
        assert tools.postfix(f"lmdb:t{number}").status == 0
    specs = [f"lmdb:{tmp_path}/t{number}" for number in range(10)]
    handles = len(os.listdir("/proc/self/fd"))

    def opened() -> None:
        for spec in specs:
            assert open_table(spec).get(b"user1@customer1.example") == b"v1"

    benchmark(opened)
    assert len(os.listdir("/proc/self/fd")) <= handles + 10


@pytest.mark.parametrize("size", [100, 10_000, 1_000_000])
def bench_lmdb_big_values(benchmark, tmp_path: Path, size: int) -> None:
    tools = Tools(tmp_path)
    tools.write("t", f"key {'v' * size}\nother x\n")
    assert tools.postfix("lmdb:t").status == 0
    get = open_table(f"lmdb:{tmp_path}/t").get
    assert len(get(b"key") or b"") == size
    benchmark.pedantic(ask, (get, [b"key"] * 20), rounds=5, iterations=5, warmup_rounds=1)
