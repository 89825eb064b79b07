"""What a run of sync-table leaves behind: one line in the mail log, and a file for Prometheus' textfile collector.

The file is replaced whole; what is carried over from the one before is when a run last succeeded.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.admin.errors import say
from fastrelay.config import Config, section
from fastrelay.log import LogError, LogSettings, MailLog
from fastrelay.tables.text import printable

if TYPE_CHECKING:
    from fastrelay.admin.sync_table import Outcome

METRICS = {
    "status": "How the last run of sync-table ended: 0 done, 1 failed, 2 refused, 3 source unreadable, 4 busy.",
    "last_run_timestamp_seconds": "When sync-table last ran.",
    "last_success_timestamp_seconds": "When sync-table last ended with the table as the source.",
    "duration_seconds": "How long the last run took.",
    "entries": "Entries that the source listed.",
    "added": "Entries that the last run added, or would have.",
    "removed": "Entries that the last run removed, or would have.",
    "changed": "Entries whose value the last run changed, or would have.",
    "skipped": "Entries of the list that no table can have.",
}


def report(configuration: Config, outcome: Outcome, metrics: str, dry_run: bool, verbose: bool) -> None:
    """Tell whoever wants to know; a log or a directory that cannot be written to is told on standard error."""
    text = summary(outcome, dry_run)
    if outcome.status:
        say("sync-table", f"error: {text}")
    elif verbose or dry_run:
        print(f"sync-table: {text}")
    if outcome.status or verbose or dry_run:
        for key in outcome.vanishing:
            say(
                "sync-table",
                f"would vanish: {printable(key)}"
                if _stays(outcome, dry_run)
                else f"vanished: {printable(key)}",
            )
        more = outcome.removed - len(outcome.vanishing)
        if more > 0:
            say("sync-table", f"and {more} more")
    if dry_run:
        return
    try:
        log = MailLog(section(LogSettings, configuration))
        (log.error if outcome.status else log.line)(b"sync-table", text.encode(errors="replace"))
        log.close()
        if log.trouble:
            say("sync-table", f"warning: the mail log: {log.trouble}")
    except LogError as error:
        say("sync-table", f"warning: {error}")
    if metrics:
        try:
            write_metrics(Path(metrics), outcome)
        except OSError as error:
            say("sync-table", f"warning: metrics in {metrics}: {error.strerror}")


def _stays(outcome: Outcome, dry_run: bool) -> bool:
    return dry_run or bool(outcome.status)


def summary(outcome: Outcome, dry_run: bool) -> str:
    """The log line."""
    counts = f"entries={outcome.entries}, added={outcome.added}, removed={outcome.removed}, changed={outcome.changed}"
    if outcome.skipped:
        counts += f", skipped={outcome.skipped}"
    word = outcome.status.name.lower()
    if not outcome.status:
        same = not (outcome.added or outcome.removed or outcome.changed)
        word = "unchanged" if same else "would be updated" if dry_run else "updated"
    line = f"source={outcome.source}, target={outcome.target}, status={word}, {counts}, delay={outcome.seconds:.2f}"
    if outcome.reason:
        line += f" ({outcome.reason})"
        if outcome.vanishing:
            keys = ", ".join(printable(key) for key in outcome.vanishing[:5])
            line += f": {keys}{', ...' if outcome.removed > 5 else ''}"
    return line


def write_metrics(directory: Path, outcome: Outcome) -> None:
    """One file a target, renamed into its place."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", outcome.target)[-80:]
    path = directory / f"fastrelay_sync_table_{name}_{zlib.crc32(outcome.target.encode()):08x}.prom"
    now = time.time()
    values: dict[str, float] = {
        "status": int(outcome.status),
        "last_run_timestamp_seconds": now,
        "last_success_timestamp_seconds": now if not outcome.status else last_success(path),
        "duration_seconds": outcome.seconds,
        "entries": outcome.entries,
        "added": outcome.added,
        "removed": outcome.removed,
        "changed": outcome.changed,
        "skipped": outcome.skipped,
    }
    labels = f'source="{_label(outcome.source)}",target="{_label(outcome.target)}"'
    text = "".join(
        f"# HELP fastrelay_sync_table_{name} {METRICS[name]}\n# TYPE fastrelay_sync_table_{name} gauge\n"
        f"fastrelay_sync_table_{name}{{{labels}}} {value:.12g}\n"
        for name, value in values.items()
    )
    fd, temporary = tempfile.mkstemp(prefix=".sync_table.", dir=directory)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(fd, 0o644)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def last_success(path: Path) -> float:
    """From the file of the run before; 0: never."""
    try:
        found = re.search(
            r"^fastrelay_sync_table_last_success_timestamp_seconds\{.*\} (\S+)$", path.read_text(), re.M
        )
        return float(found[1]) if found else 0.0
    except (FileNotFoundError, ValueError):
        return 0.0


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
