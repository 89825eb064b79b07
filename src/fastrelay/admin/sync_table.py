"""fastrelay sync-table SOURCE TARGET: make a compiled table of what another table lists, if the list can be true.

For a timer that copies a directory's addresses. The list is pulled whole and sorted; the new file is made beside
the table and compared with it; only then it takes its place. A source that fails, an empty list, or one that
would make more than --max-removed entries vanish leaves the table as it is and says so: a log line, a metric, an
exit status of its own for each (Status). One run at a time works on a table.
"""

from __future__ import annotations

import contextlib
import getopt
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import lmdb

from fastrelay import config
from fastrelay.admin.compile_table import Fatal
from fastrelay.admin.errors import say
from fastrelay.admin.postmap import read_configuration
from fastrelay.admin.sync_report import report
from fastrelay.admin.sync_target import Get, target_of
from fastrelay.admin.table_waiter import TableWaiter
from fastrelay.master.table_surroundings import table_surroundings
from fastrelay.tables import Table, TableError, open_table
from fastrelay.tables._sorter import Sorter
from fastrelay.tables.build import BuildError, key_problem, ownership_of
from fastrelay.tables.publish import Busy, table_lock
from fastrelay.tables.registry import COMPILED_TYPES
from fastrelay.tables.table import Fold, choose_fold, strerror
from fastrelay.tables.text import printable

USAGE = (
    "usage: sync-table [-c config_dir] [-nv] [--max-removed N|P%|N,P%] [--force] [--dry-run] [--metrics directory] "
    "source_type:source target_type:target"
)
DATABASES = ("mysql", "pgsql", "sqlite")
SHOWN = 20  # keys that vanish, and complaints about entries, that are told one by one


class Status(IntEnum):
    """The exit status."""

    DONE = 0  # the table is as the source, or --dry-run found that it may become so
    FAILED = 1  # arguments, configuration, or the target cannot be written
    REFUSED = 2  # too many entries would vanish: somebody has to look, and to use --force
    UNREADABLE = 3  # the source cannot be read whole
    BUSY = 4  # another run, or postmap, is at work on the table


class Ended(Exception):
    """The run is over without a new table."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limit:
    """How many entries may vanish: so many, and so many of a hundred; None: any number."""

    entries: int | None = 20
    percent: float | None = None

    def exceeded_by(self, removed: int, before: int) -> str | None:
        if self.entries is not None and removed > self.entries:
            return f"more than {self.entries}"
        if self.percent is not None and removed * 100 > before * self.percent:
            return f"more than {self.percent:g}%"
        return None


@dataclass(slots=True)
class Options:
    limit: Limit = field(default_factory=Limit)
    force: bool = False
    dry_run: bool = False
    verbose: bool = False
    metrics: str = ""


@dataclass(slots=True)
class Outcome:
    """What came of a run, for the log and the metrics."""

    source: str
    target: str
    status: Status = Status.DONE
    reason: str = ""
    entries: int = 0  # of the list
    before: int = 0  # entries of the table as it was
    added: int = 0
    removed: int = 0
    changed: int = 0
    skipped: int = 0  # listed, but no table can have them
    vanishing: list[bytes] = field(default_factory=list)  # the first of the removed keys
    seconds: float = 0.0


def main(config_dir: Path, args: list[str]) -> int:
    begun = time.monotonic()
    try:
        options, source, target, config_dir = _parse(config_dir, args)
        configuration = read_configuration(config_dir)
        kind = target.partition(":")[0]
        if kind not in COMPILED_TYPES:
            raise Fatal(f"{target}: the target must be one of {', '.join(COMPILED_TYPES)}")
    except (Fatal, config.ConfigError) as error:
        say("sync-table", f"fatal: {error}")
        return Status.FAILED
    outcome = Outcome(source, target)
    try:
        Run(options, configuration, outcome).sync()
    except Ended as ended:
        outcome.status, outcome.reason = ended.status, str(ended)
    outcome.seconds = time.monotonic() - begun
    metrics = options.metrics or configuration.text("fastrelay_metrics_directory")
    report(configuration, outcome, "" if options.dry_run else metrics, options.dry_run, options.verbose)
    return outcome.status


def _parse(config_dir: Path, args: list[str]) -> tuple[Options, str, str, Path]:
    options = Options()
    long = ["max-removed=", "force", "dry-run", "metrics="]
    try:
        flags, operands = getopt.gnu_getopt(args, "c:nv", long)
    except getopt.GetoptError as error:
        raise Fatal(f"{error}; {USAGE}") from error
    for flag, value in flags:
        match flag:
            case "-c":
                config_dir = Path(value).absolute()
            case "--max-removed":
                options.limit = parse_limit(value)
            case "--force":
                options.force = True
            case "-n" | "--dry-run":
                options.dry_run = True
            case "--metrics":
                options.metrics = value
            case "-v":
                options.verbose = True
    if len(operands) != 2 or not all(":" in operand for operand in operands):
        raise Fatal(USAGE)
    return options, operands[0], operands[1], config_dir


def parse_limit(text: str) -> Limit:
    """`N`, `P%`, or `N,P%`: what exceeds one of them exceeds the limit."""
    match = re.fullmatch(r"(?:(\d{1,12}))?(?:(?:^|,)(\d{1,3}(?:\.\d{1,6})?)%)?", text)
    if match is None or not text:
        raise Fatal(f"--max-removed {text}: need a number of entries, a percentage, or both: 20, 5%, 20,5%")
    entries, percent = match.groups()
    return Limit(int(entries) if entries else None, float(percent) if percent else None)


class Run:
    """One run; what it finds goes into `outcome`."""

    def __init__(self, options: Options, configuration: config.Config, outcome: Outcome) -> None:
        self._options = options
        self._outcome = outcome
        self._target = target_of(outcome.target)
        self._utf8 = configuration.text("smtputf8_enable") == "yes"
        self._fold: Fold = choose_fold(True, self._utf8)
        self._around = table_surroundings(configuration, lambda text: self._complain(text))
        self._complaints = 0

    def sync(self) -> None:
        """Pull, compare, replace; Ended says why not."""
        target, path = self._target, self._target.path
        try:
            with (
                table_lock(path, wait=False),
                contextlib.closing(Sorter(os.path.dirname(path) or ".")) as sorter,
            ):
                self._pull(sorter)
                if sorter.added == 0 and not self._options.force:
                    raise Ended(Status.REFUSED, "the source lists nothing at all")
                self._outcome.entries = sorter.added
                ownership = ownership_of(path, None, False, False)
                target.make(path, sorter, target.form, ownership, self._hear_duplicate, self._approve)
        except Busy as error:
            raise Ended(Status.BUSY, str(error)) from error
        except OSError as error:
            raise Ended(Status.FAILED, f"{path}: {strerror(error)}") from error
        except (lmdb.Error, BuildError) as error:
            raise Ended(Status.FAILED, f"{path}: {error}") from error

    def _pull(self, sorter: Sorter) -> None:
        """Put what the source lists into the sorter, all of it or Ended."""
        table = open_table(self._outcome.source, utf8=self._utf8, around=self._around)
        for text in table.warnings:
            self._complain(text)
        if table.problem is not None:
            raise Ended(Status.UNREADABLE, table.problem)
        with TableWaiter() as waiter:
            entries = self._entries(waiter, table)
            for number, (key, value) in enumerate(entries, 1):
                self._add(sorter, number, key, value)

    def _entries(self, waiter: TableWaiter, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """What the table lists. Errors of reading it end here, so that they are not taken for the sorter's."""
        entries: Iterator[tuple[bytes, bytes]] | None = None
        while True:
            try:
                entries = entries or iter(waiter.items(table))
                entry = next(entries, None)
            except (TableError, OSError) as error:
                unlisted = table.type in DATABASES and str(error).endswith("operation is not supported")
                hint = "; a database needs a list_query" if unlisted else ""
                raise Ended(Status.UNREADABLE, f"{error}{hint}") from error
            if entry is None:
                return
            yield entry

    def _add(self, sorter: Sorter, number: int, key: bytes, value: bytes) -> None:
        folded = self._fold(key)
        if folded is None:
            problem: str | None = "key is not UTF-8"
        elif not folded or not value:
            problem = "key or value is empty"
        else:
            problem = key_problem(folded)
        if problem is None and b"\0" in value:
            problem = "value has a NUL in it"
        if problem is not None or folded is None:
            self._outcome.skipped += 1
            self._complain(f'entry "{printable(key[:100])}" is left out: {problem}')
        else:
            end = self._target.form.end
            sorter.add(folded + end, number, value + end)

    def _hear_duplicate(self, number: int, key: bytes) -> None:
        self._outcome.entries -= 1
        self._complain(f'duplicate entry: "{printable(key)}"')

    def _complain(self, text: str) -> None:
        """The first of the complaints: a list may have as many of them as entries."""
        self._complaints += 1
        if self._complaints <= SHOWN:
            say("sync-table", f"warning: {self._outcome.source}: {text}")

    def _approve(self, made: str) -> bool:
        """Compare the new file with the table that serves; may it take its place?"""
        outcome, options = self._outcome, self._options
        exists = os.path.exists(self._target.path)
        if exists:
            self._compare(self._target.open_new(made))
        outcome.added = outcome.entries - (outcome.before - outcome.removed)
        exceeded = options.limit.exceeded_by(outcome.removed, outcome.before)
        if exceeded is not None and not options.force:
            vanishing = f"{outcome.removed} of {outcome.before} entries would vanish"
            raise Ended(Status.REFUSED, f"{vanishing}, {exceeded}")
        differs = outcome.added or outcome.removed or outcome.changed or not exists
        return bool(differs) and not options.dry_run

    def _compare(self, get_new: Get) -> None:
        """Count what the new file has not, or otherwise."""
        outcome = self._outcome
        try:
            for key, value in self._target.existing():
                outcome.before += 1
                now = get_new(key)
                if now is None:
                    outcome.removed += 1
                    if len(outcome.vanishing) < SHOWN:
                        outcome.vanishing.append(key)
                elif now != value:
                    outcome.changed += 1
        except TableError as error:
            if not self._options.force:
                raise Ended(Status.FAILED, f"the table as it is cannot be compared with: {error}") from error
            outcome.before = outcome.removed = outcome.changed = 0
