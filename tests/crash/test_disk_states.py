"""Every state that a power cut may leave of a recorded run is recovered: nothing missing, no ghosts, no alarm."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from disk_states import Call, Model, clear, parse, record
from recorded_run import SEGMENT

from support.queue_lab import Lab

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
RUN = [sys.executable, str(TESTS / "crash" / "recorded_run.py")]

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: apt-get install strace"
)


@dataclass
class Recording:
    root: str
    calls: list[Call]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    directory = tmp_path_factory.mktemp("recorded")
    spool = directory / "spool"
    spool.mkdir()
    calls = record([*RUN, str(spool)], directory / "trace", ENVIRONMENT)
    return Recording(str(spool), calls)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that no disk is asked for, where there is one."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@dataclass
class Findings:
    states: int = 0
    lost: set[int] = field(default_factory=set)
    ghosts: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def told(said: list[bytes]) -> tuple[set[int], set[int], set[int]]:
    """(acknowledged, perhaps ended, ended for good)."""
    by_letter: dict[bytes, set[int]] = {b"A": set(), b"E": set(), b"G": set()}
    for line in said:
        if line[:1] in by_letter:
            by_letter[line[:1]].add(int(line[2:]))
    return by_letter[b"A"], by_letter[b"E"], by_letter[b"G"]


def recover_all(
    recording: Recording, memory: Path, each: int, seed: int, lies: frozenset[str] = frozenset()
) -> Findings:
    """The real recovery on each state of each cut, `each` of them a cut; with lies until mail is lost."""
    model, chance, findings = Model(recording.root, lies), random.Random(seed), Findings()
    seen: set[int] = set()
    for call in recording.calls:
        if not model.take(call):
            continue
        acked, ending, ended = told(model.said)
        for state in model.states(chance, each):
            key = hash((state.key(), len(model.said)))
            if key in seen:
                continue
            seen.add(key)
            clear(memory)
            state.write(memory)
            left, problems = recover(memory)
            findings.states += 1
            findings.lost |= acked - ending - left
            findings.ghosts |= ended & left
            findings.problems += problems
            if lies and findings.lost:
                return findings
    assert model.said[-1] == b"S" and len(told(model.said)[0]) > 20
    return findings


def recover(directory: Path) -> tuple[set[int], list[str]]:
    lab = Lab(directory, shards=(0, 1), start=False, fastrelay_segment_size=SEGMENT)
    for entry in lab.spool.entries.values():
        wanted = int(lab.spool.read_envelope(entry).recipients[0].address.split(b"-")[0])
        assert sum(map(len, lab.spool.read_content(entry))) == wanted
    left, problems = set(lab.spool.entries), list(lab.problems)
    lab.crash()
    return left, problems


def check(findings: Findings) -> None:
    print(f"{findings.states} states")
    assert findings.problems == []
    assert findings.lost == set()
    assert findings.ghosts == set()


def test_every_kind_of_state_is_recovered(recording: Recording, memory: Path) -> None:
    findings = recover_all(recording, memory, each=40, seed=7)
    assert findings.states > 500
    check(findings)


@pytest.mark.parametrize("lie", ["fdatasync", "directory"])
def test_a_protocol_without_a_sync_is_found_out(recording: Recording, memory: Path, lie: str) -> None:
    """The control: had the run not waited for its syncs, these same states would lose mail."""
    assert recover_all(recording, memory, each=4, seed=1, lies=frozenset({lie})).lost


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_many_states_are_recovered(recording: Recording, memory: Path, seed: int) -> None:
    check(recover_all(recording, memory, each=300, seed=seed))


def test_a_call_that_failed_while_others_ran_has_done_nothing() -> None:
    """Seen once on a busy machine: strace had to tell a mkdirat's failure later than its begin."""
    trace = """\
1 mkdirat(3</d>, "x", 0700 <unfinished ...>
2 fsync(4</d>)                   = 0
1 <... mkdirat resumed>)         = -1 EEXIST (File exists)
2 pwrite64(5</f>, "y", 1, 0 <unfinished ...>
1 unlinkat(3</d>, "z", 0)        = -1 ENOENT (No such file or directory)
2 <... pwrite64 resumed>)        = 1
"""
    events = [(call.name, call.begins, call.ends) for call in parse(trace)]
    assert events == [("fsync", True, True), ("pwrite64", True, False), ("pwrite64", False, True)]
