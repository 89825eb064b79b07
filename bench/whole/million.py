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
    case: Case

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


@dataclass(frozen=True)
class Kind:
    """A relay of one worker, and what it has behind it when the measurement begins."""

    case: Case = CASE
    queued: int = 0
    passed: int = FEW

    def relay(self, directory: Directory) -> Relay:
        return (
            FullRelay(directory, 1, WAITS, self.queued) if self.queued else Relay("fastrelay", directory, 1)
        )


def kinds(many: int) -> dict[str, tuple[Kind, Kind]]:
    """What is compared: few, and many."""
    plain, tables = CASES["no-tables"], replace(CASES["tables"], entries=many)
    return {
        "passed on before": (Kind(), Kind(passed=many)),
        "waiting in the queue": (Kind(queued=FEW), Kind(queued=many)),
        "entries in three tables (few: none)": (Kind(plain), Kind(tables)),
    }


@contextmanager
def load(what: str, young: Kind, old: Kind) -> Iterator[Load]:
    """Both run, and have what is behind them."""
    with ExitStack() as ends:
        sink = ends.enter_context(Sink(young.case))
        both = [
            ends.enter_context(kind.relay(ends.enter_context(Directory(kind.case, sink.port))))
            for kind in (young, old)
        ]
        made = Load(what, both[0], both[1], sink, young.case)
        made.send(made.young, young.passed)
        made.send(made.old, old.passed)
        yield made


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
        for what, (young, old) in kinds(options.many).items():
            with load(what, young, old) as made:
                found[what] = made.pairs(options.pairs)
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
