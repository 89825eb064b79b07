"""A process that writes the queue, killed or failed by strace; its ledger compared with what is left."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.queue_lab import Lab

TESTS = Path(__file__).parents[1]
WRITER = [sys.executable, str(TESTS / "crash" / "queue_writer.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
HAS_STRACE = shutil.which("strace") is not None


def ledger(text: bytes) -> tuple[set[int], set[int]]:
    """(acknowledged, perhaps ended); a last line that is not whole does not count."""
    acked, ended = set(), set()
    for line in text.split(b"\n")[:-1]:
        if line.startswith(b"A "):
            acked.add(int(line[2:]))
        elif line.startswith(b"D "):
            ended.add(int(line[2:]))
    return acked, ended


def check(spool: Path, acked: set[int], ended: set[int]) -> None:
    """Nothing acknowledged is missing, all of it reads back, and a second start finds the same."""
    lab = Lab(spool, shards=(0, 1), start=False)
    left = set(lab.spool.entries)
    assert lab.problems == []
    assert acked - ended <= left
    for entry in lab.spool.entries.values():
        wanted = int(lab.spool.read_envelope(entry).recipients[0].address.split(b"-")[0])
        assert sum(map(len, lab.spool.read_content(entry))) == wanted
    lab.crash()
    lab = Lab(spool, shards=(0, 1), start=False)
    assert set(lab.spool.entries) == left
    lab.crash()


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    rng = random.Random(9)
    acked: set[int] = set()
    ended: set[int] = set()
    for _ in range(6):
        process = subprocess.Popen(
            [*WRITER, str(tmp_path), "100000"], env=ENVIRONMENT, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == b"R 0\n"
        said = b"".join(process.stdout.readline() for _ in range(rng.randrange(140, 800)))
        time.sleep(rng.uniform(0.0, 0.03))
        process.kill()
        more_acked, more_ended = ledger(said + process.stdout.read())
        process.wait()
        acked |= more_acked
        ended |= more_ended
    assert len(acked) > 500  # it was under load
    check(tmp_path, acked, ended)


def test_a_clean_stop_loses_and_repeats_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [*WRITER, str(tmp_path), "1000"], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
    )
    acked, ended = ledger(run.stdout)
    assert run.stdout.endswith(b"S\n") and len(acked) == 1000
    lab = Lab(tmp_path, shards=(0, 1), start=False)
    assert set(lab.spool.entries) == acked - ended
    lab.crash()


def inject(tmp_path: Path, fault: str) -> tuple[bytes, str, int]:
    """(the writer's ledger, strace's account of it, its exit status)."""
    spool, trace = tmp_path / "spool", tmp_path / "trace"
    spool.mkdir(exist_ok=True)
    call = fault.split(":")[0]
    command = [
        "strace",
        "-f",
        "-y",
        "-o",
        str(trace),
        "-e",
        "trace=fdatasync,fsync,pwritev,pwritev2,renameat,unlinkat",
    ]
    run = subprocess.run(
        [*command, "-e", f"inject={fault}", *WRITER, str(spool), "2000"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, timeout=200,
    )  # fmt: skip
    text = trace.read_text()
    assert "INJECTED" in text or "KILL" in fault, f"{call} was never reached"
    return run.stdout, text, run.returncode


@pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("when", [3, 17])
def test_fdatasync_fails_at_the_nth(tmp_path: Path, error: str, when: int) -> None:
    text, trace, status = inject(tmp_path, f"fdatasync:error={error}:when={when}")
    acked, ended = ledger(text)
    assert status == 75 and text.endswith(b"F 0\n")  # nothing was acknowledged after it
    lines = trace.splitlines()
    failed = next(i for i, line in enumerate(lines) if "INJECTED" in line)
    thread = lines[failed].split()[0]  # strace may tell of the call's begin and end in two lines
    begun = next(
        line for line in reversed(lines[: failed + 1]) if line.startswith(thread) and "fdatasync(" in line
    )
    file = re.findall(r"fdatasync\((\d+)<", begun)[0]
    touching = re.compile(rf"^{thread} .*(fdatasync|pwritev2?|fsync)\({file}<")
    later = [line for line in lines[failed + 1 :] if touching.search(line)]
    assert later == []  # nor was that file touched again
    check(tmp_path / "spool", acked, ended)


@pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")
@pytest.mark.parametrize("fault", ["fdatasync:signal=KILL:when=9", "pwritev,pwritev2:signal=KILL:when=21",
                                   "pwritev,pwritev2:signal=KILL:when=5", "renameat:signal=KILL:when=4",
                                   "renameat:signal=KILL:when=1", "fsync:signal=KILL:when=6"])  # fmt: skip
def test_killed_at_the_nth_call(tmp_path: Path, fault: str) -> None:
    text, _, status = inject(tmp_path, fault)
    assert status == -9 or status == 137
    check(tmp_path / "spool", *ledger(text))


@pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")
@pytest.mark.parametrize(
    "fault", ["pwritev,pwritev2:error=EIO:when=23", "renameat:error=EIO:when=2", "fsync:error=EIO:when=3"]
)
def test_other_calls_fail(tmp_path: Path, fault: str) -> None:
    text, _, status = inject(tmp_path, fault)
    assert status == 75
    check(tmp_path / "spool", *ledger(text))
