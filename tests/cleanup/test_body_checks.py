"""body_checks on hostile lines: what is stored stays a body, whatever the tables do to pieces of long lines."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.cleanup._mime import MimeScanner
from fastrelay.cleanup.checks import CheckTables, ContentChecks, Inspection, Origin

ORIGIN = Origin(b"Q", b"c[1]", b"s", b"r", b"ESMTP", b"h")
LIMIT = 8
SMUGGLED = b"x" * LIMIT + b".\r\nMAIL FROM:<e@e>\r\n"


class Table:
    """Answers that depend on the first byte of the line."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = answers

    def find(self, key: bytes, /) -> bytes | None:
        return self.answers.get(key[:1])


def checked(body: bytes, answers: dict[bytes, bytes]) -> bytes:
    checks = ContentChecks(
        body=CheckTables(b"body_checks", Table(answers)),
        scanner=MimeScanner(line_limit=LIMIT, body_limit=0, want_lines=True),
        report_eight_bit_header=False,
        header_size_limit=1000,
        unavailable=KeyError,
    )
    return Inspection(checks, ORIGIN).body(body)


def stuff(text: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", text)


def unstuff(wire: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"", wire)


def model(text: bytes, answers: dict[bytes, bytes]) -> bytes:
    """Piece by piece, as Postfix's records."""
    out = b""
    for line in text.split(b"\r\n")[:-1]:
        pieces = [line[at : at + LIMIT] for at in range(0, len(line), LIMIT)] or [b""]
        for number, piece in enumerate(pieces):
            verb, _, more = answers.get(piece[:1], b"DUNNO").partition(b" ")
            end = b"\r\n" if number == len(pieces) - 1 else b""
            if verb == b"PREPEND":
                out += more + b"\r\n"
            if verb == b"REPLACE":
                out += more + end
            elif verb != b"STRIP":
                out += piece + end
    return out


ACTIONS = [b"STRIP", b"PREPEND .", b"PREPEND new", b"REPLACE .", b"REPLACE .x", b"REPLACE y", b"DUNNO"]
LINES = st.lists(
    st.lists(st.sampled_from([b".", b"x", b"y", b"xxxxxxxx", b"yyyyyyy."])).map(b"".join), min_size=1
)


@given(LINES, st.dictionaries(st.sampled_from([b".", b"x", b"y"]), st.sampled_from(ACTIONS)))
@settings(max_examples=300, deadline=None)
def test_what_is_stored_says_what_the_actions_say(lines: list[bytes], answers: dict[bytes, bytes]) -> None:
    text = b"".join(line + b"\r\n" for line in lines)
    wire = checked(stuff(text), answers)
    assert b".\r\n" not in wire.split(b"\n")[:-1] and not re.search(rb"(?m)^\.\r\n", wire)
    assert unstuff(wire) == model(text, answers)


def test_no_end_of_data_is_made_of_a_long_line() -> None:
    """A piece that goes away must not leave a lone dot: all behind it would be commands to the next server."""
    assert checked(SMUGGLED, {b"x": b"IGNORE"}) == b"..\r\nMAIL FROM:<e@e>\r\n"
    assert checked(SMUGGLED, {b".": b"PREPEND gone"}) == b"x" * LIMIT + b"gone\r\n..\r\nMAIL FROM:<e@e>\r\n"


def test_a_body_that_does_not_change_is_the_same_object() -> None:
    assert checked(SMUGGLED, {b"M": b"INFO"}) is SMUGGLED
