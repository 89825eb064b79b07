"""The millionth message costs what the ten-thousandth does: `python -m bench.whole.million [--write-docs]`.

Two relays of one worker run side by side, one with much behind it and one with little, and are sent the same in
turn, first the one and then the other, so that the machine's mood meets both alike. Once "much" is a million
messages that have passed through it, once a million that wait in its queue, once a million entries in each of the
tutorial's three tables, beside a relay without tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from statistics import median

from bench.whole import report
from bench.whole.cases import CASES, Case
from bench.whole.ends import Sample, Sink, drive, smtp_source
from bench.whole.relays import Directory, Relay, RelayFailed
from bench.whole.run import HISTORY, PAGE, describe
from bench.whole.standing import FullRelay

CASE = CASES["reuse"]
FEW, MANY = 10_000, 1_000_000
WAITS = 7200.0  # seconds until a message of the queue is tried again: after the end of this
HEAD = (
    "| 4 KB, connections reused, one worker | CPU ms a message at {:,} | at {:,} | change (median of pairs) |"
)


@dataclass
class Load:
    """Two relays, sent to in turn."""

    what: str
    young: Relay
    old: Relay
    sink: Sink
    case: Case = CASE

    def send(self, relay: Relay, count: int) -> Sample:
        return drive(self.case, smtp_source(self.case, relay.port, count), count, relay, self.sink)[0]

    def pairs(self, times: int) -> list[tuple[float, float]]:
        """CPU ms a message of the young and the old relay."""
        found = []
        for turn in range(times):
            order = (self.young, self.old) if turn % 2 else (self.old, self.young)
            cost = {relay: self.send(relay, FEW).cpu_ms or 0.0 for relay in order}
            found.append((cost[self.young], cost[self.old]))
            print(f"{self.what}: {found[-1][0]:.3f} {found[-1][1]:.3f}", file=sys.stderr, flush=True)
        return found


@contextmanager
def behind(passed: int) -> Iterator[Load]:
    """The old relay has passed on so many."""
    with ExitStack() as ends:
        sink = ends.enter_context(Sink(CASE))
        young, old = (
            ends.enter_context(Relay("fastrelay", ends.enter_context(Directory(CASE, sink.port)), 1))
            for _ in range(2)
        )
        load = Load("passed on before", young, old, sink)
        load.send(young, FEW)
        load.send(old, passed)
        yield load


@contextmanager
def beside(queued: int) -> Iterator[Load]:
    """In the old relay's queue so many are deferred."""
    with ExitStack() as ends:
        sink = ends.enter_context(Sink(CASE))
        young, old = (
            ends.enter_context(FullRelay(ends.enter_context(Directory(CASE, sink.port)), 1, WAITS, count))
            for count in (FEW, queued)
        )
        load = Load("waiting in the queue", young, old, sink)
        for relay in (young, old):
            load.send(relay, FEW)
        yield load


@contextmanager
def among(entries: int) -> Iterator[Load]:
    """The old relay has so many entries in its tables, the young one has none; each message has another recipient."""
    plain, tables = CASES["no-tables"], replace(CASES["tables"], entries=entries)
    with ExitStack() as ends:
        sink = ends.enter_context(Sink(plain))
        young, old = (
            ends.enter_context(Relay("fastrelay", ends.enter_context(Directory(case, sink.port)), 1))
            for case in (plain, tables)
        )
        load = Load("entries in three tables (few: none)", young, old, sink, plain)
        for relay in (young, old):
            load.send(relay, FEW)
        yield load


def row(what: str, pairs: list[tuple[float, float]]) -> str:
    """Medians, and the median of the pairs' ratios with the middle half of them."""
    ratios = sorted(old / young for young, old in pairs)
    quarter = len(ratios) // 4
    few, many = (report.number(median(costs)) for costs in zip(*pairs, strict=True))
    change = f"{median(ratios) - 1:+.1%} ({ratios[quarter] - 1:+.1%} to {ratios[len(ratios) - 1 - quarter] - 1:+.1%})"
    return f"| {what} | {few} | {many} | {change} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.whole.million", description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="measurements of each relay (10)")
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--write-docs", action="store_true", help="render its part of docs/benchmarks.md")
    options = parser.parse_args()
    facts, found = describe(), {}
    try:
        for load_of in (behind, beside, among):
            with load_of(options.many) as load:
                found[load.what] = load.pairs(options.pairs)
    except RelayFailed as error:
        print(f"bench.whole.million: {error}", file=sys.stderr)
        return 1
    head = HEAD.format(FEW, options.many)
    table = "\n".join([head, report.rule(head), *(row(what, pairs) for what, pairs in found.items())]) + "\n"
    print(table)
    with open(HISTORY, "a") as file:
        file.write(json.dumps({**facts, "case": "million", "many": options.many, "pairs": found}) + "\n")
    if options.write_docs:
        made = f"Made by `python -m bench.whole.million --pairs {options.pairs} --write-docs` "
        made += f"on {facts['date'][:10]} at commit {facts['commit']}; in brackets the middle half of the pairs.\n\n"
        PAGE.write_text(report.put_between(PAGE.read_text(), "million", made + table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
