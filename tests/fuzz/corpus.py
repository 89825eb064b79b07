"""The kept corpus: tests/fuzz/corpus/TARGET.txt, an entry a line, and the table of targets.

A line is the entry's bytes with Python's escapes, so that a change can be read. run.py makes it smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import fuzz_receive
import fuzz_remote
import fuzz_stored
import fuzz_tables

DIRECTORY = Path(__file__).parent / "corpus"
TARGETS: dict[str, Callable[[bytes], None]] = {
    **fuzz_receive.TARGETS,
    **fuzz_stored.TARGETS,
    **fuzz_remote.TARGETS,
    **fuzz_tables.TARGETS,
}


def seeds(target: str) -> list[bytes]:
    made = {**fuzz_receive.seeds(), **fuzz_stored.seeds(), **fuzz_remote.seeds(), **fuzz_tables.seeds()}
    return made.get(target, [])


def read(target: str) -> list[bytes]:
    path = DIRECTORY / f"{target}.txt"
    if not path.exists():
        return []
    return [
        line.encode().decode("unicode_escape").encode("latin-1") for line in path.read_text().split("\n")[:-1]
    ]


def write(target: str, entries: Iterable[bytes]) -> None:
    DIRECTORY.mkdir(exist_ok=True)
    escaped = {entry.decode("latin-1").encode("unicode_escape").decode() for entry in entries}
    lines = sorted(escaped, key=lambda line: (len(line), line))
    (DIRECTORY / f"{target}.txt").write_text("".join(line + "\n" for line in lines))
