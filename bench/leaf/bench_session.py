"""A bare ReceiveSession: microseconds a message of 4 KB, beside bookkeeping alone in Python.

python -m pytest -o addopts= bench/leaf/bench_session.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from fastrelay.receive._session import Status
from reference.session_reference import SessionReference
from support.receive_lab import NOW, ReceiveLab

MESSAGES = 1000
COMMANDS = (b"MAIL FROM:<a@sender.example> SIZE=4000\r\n", b"RCPT TO:<u@relay.example>\r\n", b"DATA\r\n")
HEADER = (
    b"From: a@sender.example\r\nTo: u@relay.example\r\nSubject: x\r\nDate: x\r\nMessage-Id: <a@b>\r\n\r\n"
)
CONTENTS = HEADER + (b"x" * 60 + b"\r\n") * 62 + b".\r\n"


def receive(pieces: tuple[bytes, ...]) -> None:
    lab = ReceiveLab()
    session = lab.session()
    session.feed(b"EHLO client.example\r\n", NOW)
    for _ in range(MESSAGES):
        for piece in pieces:
            status = session.feed(piece, NOW)
            session.output()
        assert status == Status.MESSAGE_READY
        session.take_message()
        session.committed(NOW)
        session.output()


def in_python() -> None:
    """The slow twin's state and a plain reader of lines, without parsing addresses or headers."""
    twin = SessionReference(10, 20, 100, 1000, 1000)
    for _ in range(MESSAGES):
        twin.mail(COMMANDS[0][11:27], frozenset(), None, True)
        twin.rcpt(COMMANDS[1][9:24], None)
        lines = CONTENTS.split(b"\r\n")
        b"\r\n".join(line[1:] if line[:1] == b"." else line for line in lines[:-2])
        twin.data(None, None, None)


@pytest.mark.parametrize("how", ["command by command", "pipelined", "Python"])
def bench_session(benchmark: Any, how: str) -> None:
    pieces = {"command by command": (*COMMANDS, CONTENTS), "pipelined": (b"".join(COMMANDS), CONTENTS)}
    benchmark.extra_info["messages"] = MESSAGES
    if how == "Python":
        benchmark(in_python)
    else:
        benchmark(receive, pieces[how])
