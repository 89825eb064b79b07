"""A server's replies read: against the slow twin, in any reads; what is no reply, and the limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.delivery._replies import ReplyReader, live_objects
from reference.replies_reference import NO_REPLY, UNASKED, replies

LINES = st.one_of(
    st.tuples(
        st.sampled_from([b"250", b"354", b"421", b"550", b"199", b"600", b"25", b"2x0", b""]),
        st.sampled_from([b" ", b"-", b"-", b"", b"."]),
        st.sampled_from([b"ok", b"2.0.0 ok  ", b"", b"\0\xff", b"x" * 700, b"y" * 2043, b"z" * 2044]),
        st.sampled_from([b"\r\n", b"\n", b" \r\n", b"\r\r\n", b"\r"]),
    ).map(b"".join),
    st.just(b"250-more\r\n" * 99),
)


def read(stream: bytes, sizes: list[int], owed: int) -> list[tuple[int, bytes]]:
    """In reads of these sizes, over and over; what is unasked has no text, for that is the rest of the read."""
    reader, found, at, index = ReplyReader(), [], 0, 0
    while at < len(stream):
        size = sizes[index % len(sizes)]
        found += reader.read(stream[at : at + size], owed - len(found))
        if found and found[-1][0] < 200:
            return [*found[:-1], (UNASKED, b"") if found[-1][0] == UNASKED else found[-1]]
        at, index = at + size, index + 1
    return found


@given(
    st.lists(LINES, max_size=8).map(b"".join), st.lists(st.integers(1, 900), min_size=1), st.integers(0, 4)
)
def test_replies_as_the_twin_reads_them(stream: bytes, sizes: list[int], owed: int) -> None:
    expected = replies(stream, owed)
    assert read(stream, [len(stream) + 1], owed) == expected
    cut = read(stream, sizes, owed)
    if expected and cut and cut[-1] == (UNASKED, b"") and expected[-1][0] == NO_REPLY:
        assert (
            cut[:-1] == expected[:-1]
        )  # a line that is unasked as soon as it begins, and too long in the end
    else:
        assert cut == expected


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"250-2.1.0 a\r\n250 2.1.0 b \r\n", [(250, b"250-2.1.0 a 250 2.1.0 b")]),
        (b"250\r\n354 go\n", [(250, b"250"), (354, b"354 go")]),
        (b"250 o", []),
        (b"150 no\r\n250 ok\r\n", [(NO_REPLY, b"150 no")]),
        (b"250 a\r\n" * 4, [(250, b"250 a")] * 3 + [(UNASKED, b"250 a\r\n")]),
        (b"250-" + b"x" * 2045, [(NO_REPLY, b"reply line too long")]),
        (b"250-x\r\n" * 101, [(NO_REPLY, b"too many reply lines")]),
        (b"250-x\r\n" * 100 + b"250 y\r\n", [(250, b"250-x " * 100 + b"250 y")]),
    ],
)
def test_what_is_read(stream: bytes, found: list[tuple[int, bytes]]) -> None:
    assert ReplyReader().read(stream, 3) == found


def test_no_object_stays_alive() -> None:
    before = live_objects()
    ReplyReader().read(b"250-a\r\n", 1)
    assert live_objects() == before
