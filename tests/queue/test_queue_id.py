"""Both forms of queue ids, and what other programs expect of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.queue import queue_id

numbers = st.builds(queue_id.number, st.integers(1704067200_000000, 4102444800_000000), st.integers(0, 255))


@given(numbers, st.booleans())
def test_round_trip(message: int, long: bool) -> None:
    assert queue_id.decode(queue_id.encode(message, long)) == message


@given(numbers)
def test_forms_pass_postfixs_patterns(message: int) -> None:
    assert re.fullmatch(rb"[0-9A-F]{6,15}", queue_id.encode(message, False))
    long = queue_id.encode(message, True)
    # mail_queue.h: six or more digits of seconds, four of microseconds, z, the inode in base 51; no vowels
    assert re.fullmatch(
        rb"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]{4}", long
    )
    seconds, microseconds = divmod(message >> 8, 1_000_000)
    assert queue_id.encode(message, False)[:5] == b"%05X" % microseconds
    assert len(long) == 15 and seconds < 2**33


def test_postfixs_own_example_of_seconds() -> None:
    # postconf(5), enable_long_queue_ids: 3Pt2mN2VXxznjll was made in 2011
    head = b"3Pt2mN2VXx"
    assert 1290000000 < queue_id._value(head[:6], 52) < 1330000000
    assert queue_id._value(head[6:], 52) < 1_000_000


@pytest.mark.parametrize(
    "text",
    [b"", b"ABC", b"zzzz", b"0" * 30, b"../../etc/passwd", b"abcdef0123", b"ABCDEF-1234", b"FFFFFFFFFFFF",
     b"3Pt2mN2VXxznjllz", b"3Pt2mN2VXxz", b"\xff" * 12, b"3Pt2mN2VXxz1000\n"],
)  # fmt: skip
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a queue id"):
        queue_id.decode(text)


@given(st.binary(max_size=20))
def test_arbitrary_bytes_never_decode_to_another_spelling(text: bytes) -> None:
    try:
        found = queue_id.decode(text)
    except ValueError:
        return
    assert text in (queue_id.encode(found, True), queue_id.encode(found, False))
