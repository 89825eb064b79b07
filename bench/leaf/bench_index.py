"""The table of queued messages beside its twin, a dict: a message goes in, is looked up, and goes out.

python -m pytest -o addopts= bench/leaf/bench_index.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fastrelay.queue._index import Index

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from reference import index_reference

MESSAGES = 20_000


def pass_through(table: Any) -> None:
    value = object()
    for number in range(MESSAGES):
        table[number << 8] = value
    for number in range(MESSAGES):
        assert table.get(number << 8) is value
        table.pop(number << 8)


@pytest.mark.parametrize("make", [Index, index_reference.Index], ids=["compiled", "Python"])
def bench_index(benchmark: Any, make: Any) -> None:
    benchmark.extra_info["messages"] = MESSAGES
    benchmark(pass_through, make())
