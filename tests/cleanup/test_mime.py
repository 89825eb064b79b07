"""The MIME scanner against its slow twin; hostile structures; what Content-Type says."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.cleanup._mime import Found, MimeScanner, live_objects
from fastrelay.cleanup.content_type import Encoding, Kind, read_content_type, read_encoding
from reference.mime_reference import Scan

LINES = [
    b"",
    b"text",
    b"--a",
    b"--a--",
    b"--ab",
    b"--",
    b"--b",
    b"--b--",
    b"..dot",
    b"..",
    b"X: 1",
    b"X : 2",
    b" folded",
]
LINES += [
    b"\tfolded: yes",
    b"Content-Type: multipart/mixed; boundary=a",
    b"content-TYPE: message/rfc822",
    b"\xe9t\xe9",
]
LINES += [
    b"Content-Type: multipart/digest; boundary=b",
    b"Content-Type: message/global",
    b"Content-Description: x",
]
LINES += [
    b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: 8bit",
    b"x" * 9,
    b"y" * 10,
    b"--a" + b"z" * 20,
]
LINES += [
    b"Content-Type: multipart/x; boundary=a; boundary=b",
    b"..X: stuffed",
    b"Mime-Version: 1.0",
    b"Content-Type: text/plain;",
]
HEADERS = [(b"content-type", b" multipart/mixed; boundary=a"), (b"content-type", b" message/rfc822")]
HEADERS += [
    (b"content-transfer-encoding", b" base64"),
    (b"content-transfer-encoding", b"8bit"),
    (b"content-type", b"message/partial"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"multipart/a; boundary=ab"),
]
SETTINGS = st.fixed_dictionaries(
    {
        "nesting_limit": st.integers(1, 3),
        "boundary_limit": st.sampled_from([1, 2, 2048]),
        "line_limit": st.sampled_from([3, 9, 10, 2048]),
        "body_limit": st.sampled_from([0, 1, 20, 51200]),
    }
    | {
        name: st.booleans()
        for name in (
            "disabled",
            "want_headers",
            "want_lines",
            "report_eight_bit",
            "report_domain",
            "report_nesting",
        )
    }
)


@given(
    st.lists(st.sampled_from(HEADERS), max_size=3), st.lists(st.sampled_from(LINES), max_size=25), SETTINGS
)
@settings(max_examples=400, deadline=None)
def test_equals_the_slow_twin(headers, lines, chosen):
    body = b"".join(line + b"\r\n" for line in lines)
    assert MimeScanner(**chosen).scan(headers, body) == Scan(**chosen).run(headers, body)


@given(st.lists(st.sampled_from(HEADERS), max_size=2), st.binary(max_size=300), SETTINGS)
@settings(max_examples=300, deadline=None)
def test_any_bytes_never_fail_and_places_are_inside(headers, body, chosen):
    places = MimeScanner(**chosen).scan(headers, body)
    assert all(0 <= start <= end <= len(body) for kind, start, end in places if kind != Found.WRONG_DOMAIN)


def test_places_of_headers_and_lines():
    body = b"--b\r\nX: 1\r\n more\r\n\r\n..line\r\n--b--\r\nend\r\n"
    scanner = MimeScanner(want_headers=True, want_lines=True)
    places = scanner.scan([(b"content-type", b"multipart/mixed; boundary=b")], body)
    assert [(Found(kind).name, body[start:end]) for kind, start, end in places] == [
        ("LINE", b"--b"), ("MIME_HEADER", b"X: 1\r\n more"), ("LINE", b"..line"), ("LINE", b"--b--"), ("LINE", b"end"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "digest", "boundaries"),
    [
        (b" text/plain", Kind.LEAF, False, []),
        (b"MULTIPART/Digest; Boundary=x", Kind.MULTIPART, True, [b"x"]),
        (b"multipart/mixed;\r\n\tboundary=\"a b\\\"c\"", Kind.MULTIPART, False, [b'a b"c']),
        (b"multipart (c(d)\\)) / mixed; boundary (e) = (f) x; boundary=y z", Kind.MULTIPART, False, [b"x", b"y"]),
        (b"multipart/mixed; boundary=\"folded\r\n here\"", Kind.MULTIPART, False, [b"folded here"]),
        (b"multipart; boundary==", Kind.MULTIPART, False, [b"="]),
        (b"message/RFC822", Kind.MESSAGE, False, []),
        (b"message/global", Kind.GLOBAL, False, []),
        (b"message/partial", Kind.SEVEN_BIT, False, []),
        (b"message/External-Body; access-type=x", Kind.SEVEN_BIT, False, []),
        (b"message/delivery-status", Kind.OPAQUE, False, []),
        (b"message", Kind.OPAQUE, False, []),
        (b"\"multipart\"/mixed; boundary=x", Kind.LEAF, False, []),
        (b"", Kind.LEAF, False, []),
        (b"(unclosed multipart/mixed; boundary=x", Kind.LEAF, False, []),
        (b"multipart/mixed; boundary=\"unclosed", Kind.MULTIPART, False, [b"unclosed"]),
    ],
)  # fmt: skip
def test_content_types(value, kind, digest, boundaries):
    assert read_content_type(value) == (kind, digest, boundaries)


def test_encodings():
    assert read_encoding(b" (c) BASE64 ; x") is Encoding.BASE64
    assert read_encoding(b"uuencode") is None
    assert read_encoding(b"") is None


HOSTILE = {
    "boundaries": b"Content-Type: multipart/mixed" + b"; boundary=x" * 200_000 + b"\r\n\r\n",
    "boundary lines": b"--nobody\r\n" * 300_000,
    "headers": b"--a\r\n" + b"X: y\r\n" * 400_000,
    "folded": b"--a\r\nX: y\r\n" + b" z\r\n" * 600_000,
    "one line": b"x" * 3_000_000 + b"\r\n",
    "parts": b"--a\r\n\r\n" * 300_000,
    "comments": b"--a\r\nContent-Type: " + b"(" * 2_000_000 + b"\r\n\r\n",
    "nested": b"--a\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_structures_take_linear_time(name):
    whole = HOSTILE[name]
    headers = [(b"content-type", b"multipart/mixed; boundary=a")]
    times = []
    for body in (whole[: len(whole) // 8], whole):
        begun = time.process_time()
        MimeScanner(want_headers=True).scan(headers, body)
        times.append(time.process_time() - begun)
    assert times[1] < 40 * max(times[0], 0.005)


def test_nothing_stays_behind():
    before = live_objects()
    scanner = MimeScanner(want_lines=True)
    scanner.scan([], b"x\r\n" * 10)
    del scanner
    assert live_objects() == before
