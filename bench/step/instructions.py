"""Instructions a message, counted by valgrind's callgrind: unlike times they repeat, on a busy machine too.

`python -m bench.step.instructions [STEP ...]` runs each step for FEW and for MANY messages in a process of its own and
divides the difference, so that the start of Python cancels out. The kernel's share is not in it.
With --keep DIR the profiles stay, for callgrind_annotate.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

FEW, MANY = 100, 500
NOW = 1.7e9
DIALOGUE = (
    b"MAIL FROM:<a@sender.example> SIZE=4000\r\n",
    b"RCPT TO:<u@relay.example>\r\n",
    b"DATA\r\n",
    b"From: a@sender.example\r\nTo: u@relay.example\r\nSubject: x\r\nDate: x\r\nMessage-Id: <a@b>\r\n\r\n"
    + (b"x" * 60 + b"\r\n") * 62
    + b".\r\n",
)


def receive(count: int) -> None:
    """The dialogue, one 4 KB message after the other on one session, up to the record."""
    from support.receive_lab import ReceiveLab

    session = ReceiveLab().session()
    session.feed(b"EHLO client.example\r\n", NOW)
    for _ in range(count):
        for piece in DIALOGUE:
            session.feed(piece, NOW)
            session.output()
        session.take_message()
        session.committed(NOW)
        session.output()


def store(count: int) -> None:
    """Records into batches of 50, and the frames that say they are sent."""
    from fastrelay.borders import Outcome, Status
    from fastrelay.queue._batch import Batch
    from fastrelay.queue._record import message_record
    from support.queue_lab import envelope

    message, contents = envelope(), [b"Subject: x\r\n\r\n", b"x" * 4096]
    sent = [Outcome(0, Status.SENT, b"2.0.0", b"250 Ok")]
    for first in range(0, count, 50):
        batch = Batch(1, 4096, 1, 64 << 20, 1, 1, (1, 0))
        for number in range(first, first + 50):
            record = message_record(number + 1, message, contents, None, 1 << 20)
            batch.add(record, 4 << 20)
            record.add_outcomes(record.entry, sent, 0.0)
        batch.finish(NOW)


def index(count: int) -> None:
    """In and out of the table of queued messages."""
    from fastrelay.queue._index import Index

    table, value = Index(), object()
    for number in range(count):
        table[number << 8] = value
    for number in range(count):
        table.pop(number << 8)


STEPS: dict[str, Callable[[int], None]] = {"receive": receive, "store": store, "index": index}


def instructions(step: str, count: int, directory: Path) -> int:
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/{step}.{count}"]
    command += [sys.executable, "-m", "bench.step.instructions", "--run", step, str(count)]
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert done.returncode == 0 and found, done.stderr[-2000:]
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.step.instructions", description=__doc__)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], help=", ".join(STEPS))
    parser.add_argument("--run", nargs=2, metavar=("STEP", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    if options.run:
        STEPS[options.run[0]](int(options.run[1]))
        return 0
    if shutil.which("valgrind") is None:
        print("bench.step.instructions: not run: Debian's package `valgrind` is missing", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as made:
        directory = options.keep or Path(made)
        directory.mkdir(parents=True, exist_ok=True)
        for step in options.steps or STEPS:
            few, many = (instructions(step, count, directory) for count in (FEW, MANY))
            print(f"{step:10s} {(many - few) / (MANY - FEW):12,.0f} instructions a message")
    return 0


if __name__ == "__main__":
    sys.exit(main())
