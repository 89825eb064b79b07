"""Medians and spread of what was measured, as a table for people and lines for history.jsonl. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.whole.cases import CASES, KIB
from bench.whole.ends import Sample
from bench.whole.relays import POSTFIX

BEGIN, END = "<!-- made by bench.whole.run: {} -->\n", "<!-- end -->\n"
HEAD = (
    "| case | relay | accepted/s | delivered/s | CPU ms a message | memory, MiB "
    "| CPU: Postfix / it | delivered: it / Postfix |"
)
TIMES_HEAD = "| case | relay | offered/s | p50 to the 250, ms | p99 to the 250, ms |"
Samples = Sequence[Sample]
NO_RELAY = "none: source to sink"


@dataclass
class Result:
    """A case: the samples of each relay, in the order in which the relays are shown."""

    case: str
    samples: dict[str, list[Sample]]

    def middle(self, relay: str, what: str) -> float:
        return median(values(self.samples[relay], what))

    def ratio(self, relay: str, what: str) -> float | None:
        """Its median by Postfix's."""
        ours, theirs = (values(self.samples.get(name, []), what) for name in (relay, POSTFIX))
        if not ours or not theirs:
            return None
        return self.middle(relay, what) / self.middle(POSTFIX, what)


def values(samples: Samples, what: str) -> list[float]:
    return [value for sample in samples if (value := getattr(sample, what)) is not None]


def number(value: float) -> str:
    """Three digits or so."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(samples: Samples, what: str) -> str:
    """`median (lowest to highest)`."""
    found = values(samples, what)
    if not found:
        return ""
    middle = number(median(found))
    return middle if len(found) == 1 else f"{middle} ({number(min(found))} to {number(max(found))})"


def row(result: Result, relay: str) -> str:
    samples = result.samples[relay]
    cells = [CASES[result.case].title, relay]
    cells += [spread(samples, what) for what in ("accepted", "delivered", "cpu_ms", "memory")]
    cpu, delivered = result.ratio(relay, "cpu_ms"), result.ratio(relay, "delivered")
    if relay == POSTFIX or cpu is None or delivered is None:
        cells += ["", ""]
    else:
        cells += [f"{1 / cpu:.1f}", f"{delivered:.1f}"]
    return "| " + " | ".join(cells) + " |"


def rule(head: str) -> str:
    return "|" + "---|" * (head.count("|") - 1)


def table(results: Iterable[Result]) -> str:
    rows = [row(result, relay) for result in results for relay in result.samples]
    return "\n".join([HEAD, rule(HEAD), *rows]) + "\n"


def times_table(results: Iterable[Result]) -> str:
    """Of the cases that measured the time to the 250; empty if there are none."""
    rows = [
        "| "
        + " | ".join(
            [CASES[result.case].title, relay, *(spread(samples, what) for what in ("rate", "p50", "p99"))]
        )
        + " |"
        for result in results
        for relay, samples in result.samples.items()
        if values(samples, "p99")
    ]
    return "\n".join([TIMES_HEAD, rule(TIMES_HEAD), *rows]) + "\n" if rows else ""


def targets(results: Sequence[Result], relay: str) -> str:
    """What was to be reached, for one set of workers, and what was; only what this run measured."""
    by_case = {result.case: result for result in results if relay in result.samples}
    rows = [
        f"| {what} | {wanted} | {found} | {'yes' if reached else 'no'} |"
        for what, wanted, found, reached in reached_targets(by_case, relay)
    ]
    head = "| target | at least | measured | reached |"
    return "\n".join([head, rule(head), *rows]) + "\n" if rows else ""


def reached_targets(by_case: Mapping[str, Result], relay: str) -> list[tuple[str, str, str, bool]]:
    found = []
    for case, factor in (("one", 12), ("reuse", 20)):
        if case in by_case and (cpu := by_case[case].ratio(relay, "cpu_ms")):
            what = f"CPU a message, {CASES[case].title}"
            found.append((what, f"1/{factor} of Postfix's", f"1/{1 / cpu:.1f}", 1 / cpu >= factor))
    for case in ("one", "reuse"):
        if case in by_case and (times := by_case[case].ratio(relay, "delivered")):
            what = f"delivered a second, {CASES[case].title}"
            found.append((what, "5 times Postfix's", f"{times:.1f} times", times >= 5))
    if "reuse" in by_case:
        rate = by_case["reuse"].middle(relay, "delivered")
        found.append(("delivered a second, connections reused", "5,000", number(rate), rate >= 5000))
    for case in ("64k", "1m"):
        if case in by_case and (times := by_case[case].ratio(relay, "delivered")):
            rate = by_case[case].middle(relay, "delivered") * CASES[case].size / KIB / KIB
            measured = f"{times:.1f} times ({number(rate)} MiB/s)"
            found.append((f"bytes a second, {CASES[case].title}", "3 times Postfix's", measured, times >= 3))
    if "tables" in by_case and "no-tables" in by_case:
        change = by_case["tables"].middle(relay, "cpu_ms") / by_case["no-tables"].middle(relay, "cpu_ms") - 1
        what = "CPU a message with a million entries in three tables, against none"
        found.append((what, "within 10 percent", f"{change:+.1%}", change <= 0.1))
    if "many" in by_case and "reuse" in by_case:
        change = by_case["many"].middle(relay, "cpu_ms") / by_case["reuse"].middle(relay, "cpu_ms") - 1
        what = "CPU a message at 200,000 messages against at 10,000"
        found.append((what, "within 10 percent", f"{change:+.1%}", abs(change) <= 0.1))
    if "half-load" in by_case:
        p99 = by_case["half-load"].middle(relay, "p99")
        found.append(("p99 to the 250 at half load", "20 ms or less", f"{number(p99)} ms", p99 <= 20))
    return found


def history_lines(results: Iterable[Result], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One a case: the facts of the run, and every relay's samples in the order in which they were taken."""
    kinds = Sample.__dataclass_fields__
    return [
        {
            **facts,
            "case": result.case,
            "relays": {
                relay: {
                    kind: [round(v, 4) for v in found] for kind in kinds if (found := values(samples, kind))
                }
                for relay, samples in result.samples.items()
            },
        }
        for result in results
    ]


def put_between(text: str, part: str, made: str) -> str:
    """The page with what is between the two marks of this part replaced."""
    mark = BEGIN.format(part)
    before, begin, rest = text.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no marks of {part} to write between")
    return before + mark + "\n" + made + "\n" + END + after
