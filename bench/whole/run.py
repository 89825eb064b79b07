"""fastrelay and Postfix in one run, relays and cases in turn: `python -m bench.whole.run [--case NAME ...]`.

Each measurement starts the relay anew on an empty queue, warms it up, sends, and waits until the sink has
all. Prints a table, appends lines to bench/history.jsonl, and with --write-docs renders docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.whole import report, standing
from bench.whole.cases import CASES, DEFAULT, FASTER, SHOWN, Case
from bench.whole.ends import Sample, Sink, direct, measure
from bench.whole.exim import Exim
from bench.whole.haraka import Haraka
from bench.whole.measure import Meter
from bench.whole.opensmtpd import OpenSMTPD
from bench.whole.plot import plot
from bench.whole.relays import POSTFIX, Directory, Relay, RelayFailed

OTHERS = {"exim4": Exim, "opensmtpd": OpenSMTPD, "haraka": Haraka}
ROOT = Path(__file__).parents[2]
HISTORY = ROOT / "bench/history.jsonl"
PAGE = ROOT / "docs/benchmarks.md"
NEEDED = ("smtp-source", "smtp-sink", "postfix", "postmap")


def main() -> int:
    options = parse(sys.argv[1:])
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        why = (
            f"{', '.join(missing)} missing; Debian's package is `postfix`"
            if missing
            else "Postfix starts as root only"
        )
        print(f"bench.whole: nothing to compare with ({why}); not run", file=sys.stderr)
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    facts = describe()
    try:
        results = run_cases(options)
        still, samples = standing.table(max(options.workers), options.pairs) if options.standing else ("", {})
    except RelayFailed as error:
        print(f"bench.whole: {error}", file=sys.stderr)
        return 1
    print(report.table(results) + "\n" + report.times_table(results) + "\n" + still)
    if options.history:
        with open(HISTORY, "a") as file:
            file.writelines(json.dumps(line) + "\n" for line in report.history_lines(results, facts))
            if samples:
                file.write(json.dumps({**facts, "case": "standing", "relays": {"fastrelay": samples}}) + "\n")
    if options.write_docs:
        part = options.write_docs
        made = rendered(results, facts, options)
        if still:
            made += f"\n### What stands still, {max(options.workers)} workers\n\n{still}"
        (PAGE.parent / f"benchmarks-{part}.svg").write_text(plot(results))
        made += f"\n![the medians as bars](benchmarks-{part}.svg)\n"
        PAGE.write_text(report.put_between(PAGE.read_text(), part, made))
    return 0


def parse(words: list[str]) -> argparse.Namespace:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(prog="python -m bench.whole.run", description=__doc__)
    parser.add_argument(
        "--case", nargs="*", choices=[*CASES, "shown", "all"], default=list(DEFAULT), metavar="NAME"
    )
    parser.add_argument(
        "--also", nargs="*", choices=[*OTHERS], default=[], help="beside Postfix, where there is one next hop"
    )
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each relay (3)")
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, cores}), help="1 and one a core")
    parser.add_argument("--scale", type=float, default=1.0, help="times the messages of each case")
    parser.add_argument("--no-history", dest="history", action="store_false")
    parser.add_argument("--standing", action="store_true", help="memory of what stands still, and the start")
    parts = ("main", "more")
    parser.add_argument("--write-docs", choices=parts, help="render this part of docs/benchmarks.md")
    parser.epilog = "cases: " + "; ".join(f"{name}: {case.title}" for name, case in CASES.items())
    options = parser.parse_args(words)
    if "all" in options.case:
        options.case = list(CASES)
    if "shown" in options.case:
        options.case = list(SHOWN)
    return options


def contenders(case: Case, options: argparse.Namespace) -> dict[str, tuple[str, int]]:
    """What the report calls each relay: its kind, and how many workers."""
    ours = {f"fastrelay, {n} worker{'s' * (n != 1)}": ("fastrelay", n) for n in options.workers}
    if case.alone:
        return ours
    others = [] if case.is_routed else options.also  # those have one next hop
    return {name: (name, 0) for name in (POSTFIX, *others)} | ours


class Trial:
    """A case under way: its ends and its directory stay for all its measurements."""

    def __init__(self, name: str, options: argparse.Namespace, ends: contextlib.ExitStack) -> None:
        self.name, self.options = name, options
        case = self.case = CASES[name]
        self.contenders = contenders(case, options)
        self.result = report.Result(name, {label: [] for label in self.contenders})
        most = max(case.count("fastrelay", options.scale), case.warm_up)
        self.sink = ends.enter_context(Sink(case))
        self.directory = ends.enter_context(Directory(case, self.sink.port, self.sink.slow_port, most))

    def run(self, backwards: bool) -> None:
        """Each contender once."""
        case, scale = self.case, self.options.scale
        order = list(self.contenders)
        for label in reversed(order) if backwards else order:
            kind, workers = self.contenders[label]
            with OTHERS.get(kind, Relay)(kind, self.directory, workers) as relay:
                sample = measure(case, relay, self.sink, case.count(kind, scale))
            self.result.samples[label].append(sample)
            print(f"{self.name:12s} {label:20s} {shown(sample)}", file=sys.stderr, flush=True)
        if case.is_plain:
            sample = direct(case, self.sink, case.count("fastrelay", scale))
            self.result.samples.setdefault(report.NO_RELAY, []).append(sample)


def run_cases(options: argparse.Namespace) -> list[report.Result]:
    """All cases once, and again in the other order: what two of them are compared for drifts alike."""
    with contextlib.ExitStack() as ends:
        trials = [Trial(name, options, ends) for name in options.case]
        for pair in range(options.pairs):
            backwards = pair % 2 == 1
            for trial in reversed(trials) if backwards else trials:
                if pair == 0 or not trial.case.alone:
                    trial.run(backwards)
        return [trial.result for trial in trials]


def shown(sample: Sample) -> str:
    text = f"accepted/s {sample.accepted:7.0f}  delivered/s {sample.delivered:7.0f}  "
    text += f"CPU ms {sample.cpu_ms:.3f}  MiB {sample.memory:.0f}  others {sample.others:.1f}"
    return text if sample.p99 is None else f"{text}  p50 {sample.p50:.2f} ms  p99 {sample.p99:.2f} ms"


def describe() -> dict[str, Any]:
    """When, what and where."""
    meter = Meter(Path("/nonexistent"))
    meter.open()
    meter.close()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--", "src", "setup.py")),
        "postfix": said("postconf", "-C", "builtin", "-dh", "mail_version"),
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "cpu_from": meter.kind,
        "load_before": round(os.getloadavg()[0], 2),
    }


def git(*words: str) -> str:
    return said("git", "-C", str(ROOT), *words)


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()


def cpu_model() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


def noise(results: list[report.Result]) -> str:
    everything = [
        sample
        for result in results
        for samples in result.samples.values()
        for sample in samples
        if sample.cpu_ms
    ]
    return report.spread(everything, "others")


def rendered(results: list[report.Result], facts: dict[str, Any], options: argparse.Namespace) -> str:
    """The part of docs/benchmarks.md that a run makes."""
    machine = facts["machine"]
    command = f"python -m bench.whole.run --pairs {options.pairs} --case {' '.join(options.case)}"
    command += f" --workers {' '.join(map(str, options.workers))}"
    command += f" --also {' '.join(options.also)}" if options.also else ""
    command += " --standing" if options.standing else ""
    if options.scale != 1:
        command += f" --scale {options.scale}"
    command += f" --write-docs {options.write_docs}"
    changed = " with changes that were not committed" if facts["changed"] else ""
    lines = [
        f"Made by `{command}`",
        f"on {facts['date'][:10]}, fastrelay at commit {facts['commit']}{changed}, "
        f"beside Postfix {facts['postfix']}.",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}; CPU time from {facts['cpu_from']}; "
        f"other work took {noise(results)} cores while it was measured.",
        f"Median (lowest to highest) of {options.pairs} measurements; "
        f"fastrelay was sent {FASTER} times Postfix's messages unless the rate was given.",
    ]
    text = "\n".join(lines) + "\n\n" + report.table(results)
    if times := report.times_table(results):
        text += "\n" + times
    for workers in options.workers:
        label = f"fastrelay, {workers} worker{'s' * (workers != 1)}"
        if reached := report.targets(results, label):
            text += f"\n### What was to be reached: {label}\n\n{reached}"
    return text


if __name__ == "__main__":
    sys.exit(main())
