"""The end of data, and nothing but it: reliability catalogue H-A01 to H-A17, H-E, H-F, in any chunking."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.borders import Flag
from fastrelay.cleanup._contents import ContentScanner, live_objects
from reference import content_reference as reference

BARE_LF, STRAY_CR, NUL_IN_HEADER, NUL_IN_BODY, TOO_BIG = 1, 2, 4, 8, 16
HEADER = b"Subject: x\r\n\r\n"
TAIL = b"MAIL FROM:<x@y>\r\n"

# What may end the contents: DESIGN.md 5. The second element: does it?
ENDINGS = [
    (b"\r\n.\r\n", True),
    (b"\r\r\n.\r\n", True),
    (b"\n.\n", False),
    (b"\n.\r\n", False),
    (b"\r\n.\n", False),
    (b"\n\n.\r\n", False),
    (b"\r\n.\r\r\n", False),
    (b"\r\r\n.\r\r\n", False),
    (b"\n.\r", False),
    (b"\r.\n", False),
    (b"\r.\r", False),
    (b"\r.\r\n", False),
    (b"\r\n.\r", False),
    (b"\r\n\0.\r\n", False),
    (b"\r\n.\0\r\n", False),
    (b"\r\n. \r\n", False),
    (b"\r\n..\r\n", False),
]


def feed(wire: bytes, sizes: list[int], limit: int = 0) -> tuple[ContentScanner, int]:
    """Feed in chunks of these sizes, over and over; the number of bytes used, or -1."""
    scanner = ContentScanner(limit)
    at = index = 0
    while at < len(wire):
        chunk = wire[at : at + sizes[index % len(sizes)]]
        used = scanner.feed_data(chunk)
        if used >= 0:
            return scanner, at + used
        at += len(chunk)
        index += 1
    return scanner, -1


def parts(scanner: ContentScanner) -> tuple[bytes, bytes, bool]:
    return scanner.header_lines(), scanner.hand_over_body(), scanner.has_separator


def expected_parts(lines: list[bytes]) -> tuple[bytes, bytes, bool]:
    header, body, separator = reference.split_header(lines)
    return reference.wire_form(header), reference.wire_form(body), separator


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 2048])
@pytest.mark.parametrize(("ending", "ends"), ENDINGS)
def test_only_crlf_dot_crlf_ends(ending: bytes, ends: bool, chunk: int) -> None:
    wire = HEADER + b"body" + ending + TAIL + b"\r\n.\r\n" + b"QUIT\r\n"
    scanner, used = feed(wire, [chunk])
    assert used == (len(HEADER + b"body" + ending) if ends else len(wire) - len(b"QUIT\r\n"))
    assert bool(scanner.seen & BARE_LF) == (b"\n" in ending.replace(b"\r\n", b""))
    body = scanner.hand_over_body()
    assert (TAIL.rstrip() in body) != ends
    assert b"\r\n" not in body.replace(b"\r\n", b"") and body.endswith(b"\r\n")
    assert b"\r" not in body.replace(b"\r\n", b"") and b"\n" not in body.replace(b"\r\n", b"")


OCTETS = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b".",
            b"\r\n",
            b"\r\n.",
            b"a",
            b"\r\n.\r\n",
            b"\0",
            b"\xe9",
            b": x",
            b" ",
            b"From ",
            b"S",
        ]
    ),
    max_size=40,
).map(b"".join)
CHUNKS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@settings(max_examples=600, deadline=None)
@given(OCTETS, CHUNKS)
def test_data_equals_reference_in_any_chunking(octets: bytes, sizes: list[int]) -> None:
    wire = octets + b"\r\n.\r\n" + TAIL
    expected = reference.read_data(wire)
    assert expected is not None
    scanner, used = feed(wire, sizes)
    assert used == expected.used
    assert scanner.size == expected.size
    assert (bool(scanner.seen & BARE_LF), bool(scanner.seen & STRAY_CR)) == (
        expected.bare_lf,
        expected.stray_cr,
    )
    whole, used_whole = feed(wire, [len(wire)])
    assert (used_whole, whole.flags, whole.seen, whole.size) == (
        used,
        scanner.flags,
        scanner.seen,
        scanner.size,
    )
    assert parts(scanner) == parts(whole) == expected_parts(expected.lines)


@settings(max_examples=400, deadline=None)
@given(OCTETS, CHUNKS)
def test_chunks_equal_reference(octets: bytes, sizes: list[int]) -> None:
    scanner = ContentScanner()
    at = index = 0
    while at < len(octets):
        scanner.feed_bdat(octets[at : at + sizes[index % len(sizes)]], False)
        at += sizes[index % len(sizes)]
        index += 1
    scanner.feed_bdat(b"", True)
    expected = reference.read_chunks(octets)
    assert scanner.size == expected.size
    assert bool(scanner.seen & BARE_LF) == expected.bare_lf
    assert parts(scanner) == expected_parts(expected.lines)


@given(st.binary(max_size=300), CHUNKS)
@settings(max_examples=300, deadline=None)
def test_any_bytes_never_fail(octets: bytes, sizes: list[int]) -> None:
    wire = octets + b"\r\n.\r\n"
    _, used = feed(wire, sizes)
    assert 0 < used <= len(wire)


def test_a_body_survives_byte_for_byte() -> None:
    """Every byte but CR, LF and NUL, dots in every place, lines around the width of a vector register."""
    octets = bytes(c for c in range(1, 256) if c not in (10, 13))
    lines = [b"." * n for n in range(2, 6)] + [octets[i:] for i in range(20)] + [b"x" * n for n in range(40)]
    body = reference.wire_form([line for line in lines if line != b""] + [b""])
    scanner, used = feed(HEADER + body + b".\r\n", [10**6])
    assert used == len(HEADER + body) + 3
    assert scanner.hand_over_body() == body
    assert scanner.size == len(HEADER) + len(body) - body.count(b"\r\n..") - body.startswith(b"..")


def test_empty_message_and_dot_at_the_start() -> None:
    scanner, used = feed(b".\r\nQUIT\r\n", [1])
    assert used == 3
    assert parts(scanner) == (b"", b"", False)
    assert scanner.size == 0


@pytest.mark.parametrize("chunk", [1, 7, 10**6])
def test_size_limit_swallows_to_the_end(chunk: int) -> None:
    wire = HEADER + b"..345678\r\n" * 10 + b".\r\n"
    size = len(HEADER) + 9 * 10
    scanner, used = feed(wire, [chunk], size)
    assert (used, scanner.size, scanner.seen) == (len(wire), size, 0)
    scanner, used = feed(wire, [chunk], size - 1)
    assert (used, scanner.seen) == (len(wire), TOO_BIG)
    assert scanner.buffered == 0
    assert parts(scanner)[:2] == (b"", b"")


def test_size_limit_bounds_memory_in_the_header_too() -> None:
    scanner = ContentScanner(100_000)
    for _ in range(1000):
        scanner.feed_data(b"x" * 4096)
        assert scanner.buffered < 200_000
    assert scanner.seen & TOO_BIG
    assert scanner.feed_data(b"\r\n.\r\n") == 5


@pytest.mark.parametrize(
    ("content", "flags", "seen"),
    [
        (b"Subject: x\r\n\r\nabc\r\n", 0, 0),
        (b"Subject: \xe9\r\n\r\nabc\r\n", Flag.EIGHT_BIT_HEADER, 0),
        (b"Subject: x\r\n\r\nabc\xff\r\n", Flag.EIGHT_BIT_BODY, 0),
        (b"not a header \xff\r\n", Flag.EIGHT_BIT_BODY, 0),
        (b"Subject: x\r\n" + b"y" * 20 + b"\x80" + b"\r\n", Flag.EIGHT_BIT_BODY, 0),
        (b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n", 0, 0),
        (b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n", Flag.LONG_LINES, 0),
        (b"Subject: x\r\n\r\n.." + b"y" * 997 + b"\r\n", 0, 0),
        (b"Subject: x\r\n\r\n.." + b"y" * 998 + b"\r\n", Flag.LONG_LINES, 0),
        (b"Subject: a\0b\r\n\r\nabc\r\n", 0, NUL_IN_HEADER),
        (b"Subject: x\r\n\r\na\0bc\r\n", 0, NUL_IN_BODY),
        (b"no header\0\r\n", 0, NUL_IN_BODY),
        (b"Subject: x\r\n\r\na\rb\r\n", 0, STRAY_CR),
        (b"Subject: x\r\n\r\na\nb\r\n", 0, BARE_LF),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 10**6])
def test_flags(content: bytes, flags: int, seen: int, chunk: int) -> None:
    scanner, used = feed(content + b".\r\n", [chunk])
    assert used == len(content) + 3
    assert (scanner.flags, scanner.seen) == (flags, seen)


def test_what_is_replaced() -> None:
    """Bare LF becomes a line's end, a dot after it is unstuffed as Postfix does; CR and NUL become blanks."""
    scanner, _ = feed(HEADER + b"a\n.b\nc\n..d\r\ne\rf\0g\r\n.\r\r\n.\r\n", [10**6])
    assert scanner.hand_over_body() == b"a\r\nb\r\nc\r\n..d\r\ne f g\r\n \r\n"


def test_the_body_outlives_the_scanner_and_reset_forgets() -> None:
    scanner, _ = feed(HEADER + b"first\r\n.\r\n", [4])
    body = scanner.hand_over_body()
    scanner.clear()
    assert scanner.feed_data(b"X-Second: 1\r\n\r\nsecond\r\n.\r\n") == 26
    assert parts(scanner) == (b"X-Second: 1\r\n", b"second\r\n", True)
    assert body == b"first\r\n"


def test_buffered_counts_what_is_held() -> None:
    scanner = ContentScanner()
    scanner.feed_data(HEADER)
    before = scanner.buffered
    scanner.feed_data(b"x" * 100_000)
    assert scanner.buffered >= before + 100_000
    scanner.clear()
    assert scanner.buffered == 0


def test_no_object_stays_alive() -> None:
    before = live_objects()
    scanner = ContentScanner()
    scanner.feed_data(HEADER + b"x" * 5000)
    del scanner
    assert live_objects() == before
