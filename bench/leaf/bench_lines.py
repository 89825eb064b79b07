"""The leaves that a command line meets, each beside plain Python: words, parameters, paths, recipients, regex.

python -m pytest -o addopts= bench/leaf/bench_lines.py

The twins of addresses and patterns are those that the tests compare with; the others are as short as Python allows.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastrelay.borders import Recipient
from fastrelay.cleanup._recipients import unique
from fastrelay.rewrite._address import parse_path
from fastrelay.tables._regex import Pattern
from fastrelay.wire._parameters import mail_parameters
from fastrelay.wire._smtp import is_utf8, words

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from reference import address_reference, regex_reference

TIMES = 1000
LINE = b" FROM:<someone.with-a-name@sender.example.org> SIZE=4096 BODY=8BITMIME"
PARAMETERS = b" SIZE=4096 BODY=8BITMIME RET=HDRS ENVID=abc+2Bdef"
PATH = b"<someone.with-a-name@sender.example.org>"
TEXT = "grüße an alle, die das hier lesen; ".encode() * 4
RECIPIENTS = [Recipient(b"user%d@there.example" % (number % 45)) for number in range(50)]
PATTERN, SUBJECT = rb"^user([0-9]+)@(customer[a-z]*)\.example$", b"user12345@customerabc.example"
TAKEN = re.compile(rb" (?:SIZE=(\d+)|BODY=(7BIT|8BITMIME)|RET=(FULL|HDRS)|ENVID=([!-~]+))", re.I)


def unique_in_python() -> list[Recipient]:
    seen: set[Any] = set()
    kept = []
    for one in RECIPIENTS:
        key = (one.address.lower(), one.original.lower(), one.orcpt.lower(), one.notify)
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def is_utf8_in_python() -> bool:
    try:
        TEXT.decode()
    except UnicodeDecodeError:
        return False
    return True


compiled = Pattern(PATTERN, 1, True)
LEAVES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "words": (lambda: words(LINE), LINE.split),
    "parameters": (lambda: mail_parameters(PARAMETERS), lambda: TAKEN.findall(PARAMETERS)),
    "path": (lambda: parse_path(PATH), lambda: address_reference.parse(PATH)),
    "utf8": (lambda: is_utf8(TEXT), is_utf8_in_python),
    "recipients": (lambda: unique(RECIPIENTS, 1000), unique_in_python),
    "regex": (
        lambda: compiled.groups(SUBJECT, 2),
        lambda: regex_reference.groups(PATTERN, 1, SUBJECT, 2),
    ),
}


def repeat(call: Callable[[], Any]) -> None:
    for _ in range(TIMES):
        call()


@pytest.mark.parametrize("how", ["compiled", "Python"])
@pytest.mark.parametrize("leaf", LEAVES)
def bench_lines(benchmark: Any, leaf: str, how: str) -> None:
    benchmark.group = leaf
    benchmark.extra_info["calls"] = TIMES
    benchmark(repeat, LEAVES[leaf][how == "Python"])
