"""Headers removed, added and left alone: against a slow twin, and against a living Postfix."""

from __future__ import annotations

import re
import time

import cleanup_postfix
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup._contents import ContentScanner
from fastrelay.cleanup._headers import HeaderCleaner, live_objects
from reference import content_reference, headers_reference

DROPPED = [b"bcc", b"content-length", b"resent-bcc", b"return-path"]
RECEIVED = b"Received: from c\r\n\tby us\r\n"
ADD = {b"message-id": b"<20260102030405.QID@relay.lab.example>", b"date": b"Fri, 2 Jan 2026", b"from": b"s@x"}


def cleaner(limit: int = 102400, undisclosed: bytes = b"", dropped: list[bytes] = DROPPED) -> HeaderCleaner:
    return HeaderCleaner(dropped, limit, undisclosed, b"relay.lab.example")


def scanned(content: bytes) -> ContentScanner:
    scanner = ContentScanner()
    assert scanner.feed_data(content + b"\r\n.\r\n") > 0
    return scanner


def clean(content: bytes, made_by: HeaderCleaner, add: bool = False, sender: bytes = b"s@x") -> bytes:
    return made_by.clean_header(
        scanned(content), RECEIVED, add, sender, b"QID", ADD[b"date"], b"20260102030405"
    ).removeprefix(RECEIVED)


def test_addresses_are_rewritten_where_the_client_is_local() -> None:
    addresses = AddressHeaders(b"o.example", b"d.example", sender_map=lambda a: a.replace(b"from", b"mapped"))
    content = b"Subject: s\r\nFrom : from@x.y (me)\r\nTO: a,\r\n b@c\r\n"
    content += b"Cc: is@comp.lete,  x@y.z\r\nBcc: c\r\nX-To: q\r\n"
    header = cleaner(limit=60).clean_header(scanned(content), RECEIVED, addresses=addresses)
    assert header.removeprefix(RECEIVED) == (
        b"Subject: s\r\nFrom: mapped@x.y (me)\r\nTO: a@o.example, b@c.d.example\r\n"
        b"Cc: is@comp.lete,  x@y.z\r\nX-To: q\r\n\r\n"
    )
    assert b"TO: a,\r\n b@c\r\n" in cleaner().clean_header(scanned(content), RECEIVED)


def test_a_long_header_is_cut_before_its_addresses_are_rewritten() -> None:
    header = cleaner(limit=12).clean_header(
        scanned(b"To: " + b"abc,d" * 9), RECEIVED, addresses=AddressHeaders(b"o")
    )
    assert b"\r\nTo: abc@o, dabc@o\r\n" in header


NAMES = [
    b"From",
    b"TO",
    b"cc",
    b"Bcc",
    b"Date",
    b"Message-ID",
    b"Received",
    b"X-Any",
    b"Resent-To",
    b"resent-bcc",
]
NAMES += [
    b"Return-Path",
    b"Content-Length",
    b"Subject",
    b"..dot",
    b"Resent-Sender",
    b"Fro",
    b"Tos",
    b"x" * 70,
]
LINES = st.one_of(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([b":", b" :", b"\t: ", b": ", b""]),
        st.sampled_from([b"", b"v w", b"\xe9"]),
    ).map(b"".join),
    st.sampled_from([b" folded", b"\t", b"From a@b", b">From : c", b"From : late", b"", b":", b"no header"]),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(LINES, max_size=12),
    st.booleans(),
    st.sampled_from([b"", b"To: undisclosed-recipients:;"]),
    st.integers(80, 120),
)
def test_equals_reference(lines: list[bytes], add: bool, undisclosed: bytes, limit: int) -> None:
    wire = b"\r\n".join([*lines, b"", b"body"])
    contents = content_reference.read_data(wire + b"\r\n.\r\n")
    assert contents is not None
    header, _, separator = content_reference.split_header(contents.lines)
    made_by = cleaner(limit, undisclosed)
    got = made_by.clean_header(scanned(wire), RECEIVED, add, b"s@x", b"QID", ADD[b"date"], b"20260102030405")
    expected, hops = headers_reference.clean(
        header,
        separator,
        received=RECEIVED,
        dropped=set(DROPPED),
        limit=limit,
        add=ADD if add else None,
        undisclosed=undisclosed,
    )
    assert got == expected
    assert made_by.hops == hops


CORPUS = [
    b"Subject: a\r\n\r\nhi",
    b"From: a@b\r\nTo: c@d\r\nDate: x\r\nMessage-ID: <m@i>\r\nSubject: a\r\nBcc: q@r\r\n folded\r\n"
    b"Return-Path: <x>\r\nContent-Length: 3\r\n\r\nhi",
    b"Resent-Bcc: z@b\r\nFrom: a@b\r\n\r\nhi",
    b"Subject: a\r\n\r\na\n.b\nc\n..d",
    b"Subject: a\r\n\r\na\n.\r\nb",
    b"Subject: a\r\n\r\na\r\n.\nb\n.\nc",
    b"Subject: a\rb\r\n\r\nx\ry\r\r\nz\r\n.\r\r\nw",
    b"this is not a header\r\nmore",
    b"Subject: only",
    b"Subject: only\r\n",
    b" leading\r\nSubject: x\r\n\r\nb",
    b"From a@b xxx\r\n>From q\r\n>>From q\r\nSubject: x\r\n\r\nb",
    b"Subject: x\r\nFrom a b\r\nTo: x@b\r\n\r\nb",
    b"Subject : x\r\nX-Foo\t : y\r\n\r\nb",
    b"Subject: x\r\n \r\n\t\r\nTo: z@b\r\n\r\nb",
    b"Resent-From: a@b\r\nFrom: c@d\r\nSubject: x\r\n\r\nb",
    b"Resent-To: a@b\r\nResent-Message-Id: <rr@x>\r\nFrom: c@d\r\nSubject: x\r\n\r\nb",
    b"Bcc: a@b\r\nSubject: x\r\n\r\nb",
    b"Cc: a@b\r\nSubject: x\r\n\r\nb",
    b"..foo: bar\r\n.Subject: baz\r\n\r\nb",
    b"Return-Receipt-To: a@b\r\nErrors-To: q@e\r\nSubject: x\r\n\r\nb",
    b"Subj\xe9ct: x\r\nTo: q@b\r\n\r\nb",
    b": x\r\nTo: q@b\r\n\r\nb",
    b"Message-Id:   a b  c \r\n  <d>\r\nSubject: x\r\n\r\nb",
    b"Message-Id: <a@b>\r\nMessage-Id: <c@d>\r\nSubject: x\r\n\r\nb",
    b"Subject: x   \r\nX-Empty:\r\nX-Tab:\ta \r\n\r\nb",
    b"Subject: x\r\n\r\nFrom the start\r\n\r\n.",
]


@pytest.mark.skipif(not cleanup_postfix.USABLE, reason="needs root and Debian's postfix")
@pytest.mark.parametrize(
    ("main", "add"),
    [
        ({"undisclosed_recipients_header": "To: undisclosed-recipients:;"}, True),
        ({"local_header_rewrite_clients": ""}, False),
    ],
)
def test_equals_postfix(main: dict[str, str], add: bool) -> None:
    undisclosed = main.get("undisclosed_recipients_header", "").encode()
    with cleanup_postfix.running(main) as postfix:
        queue_ids = postfix.send(CORPUS)
        delivered = postfix.fetch(len(CORPUS))
    for content, queue_id in zip(CORPUS, queue_ids, strict=True):
        expected = delivered[queue_id]
        match = re.match(rb"Received: .*?; (.*?)\r\n", expected, re.DOTALL)
        assert match
        scanner = scanned(content)
        header = cleaner(undisclosed=undisclosed).clean_header(
            scanner, match[0], add, b"s@x.example", queue_id.encode(), match[1], b"20260102030405"
        )
        got = re.sub(rb"(?m)^\.", b"", header + scanner.hand_over_body())
        assert without_times(got) == without_times(expected), content


def without_times(message: bytes) -> bytes:
    """Postfix's own headers may be a second later than its Received."""
    message = re.sub(rb"(Message-Id: <)\d{14}\.", rb"\1STAMP.", message)
    return re.sub(rb"(Date: )\w+, \d+ \w+ \d+ [\d:]+", rb"\1TIME", message)


def test_null_sender_and_long_queue_ids() -> None:
    made_by = cleaner()
    header = made_by.clean_header(scanned(b"To: a@b\r\n"), RECEIVED, True, b"", b"4LongId", b"DATE", b"")
    expected = (
        b"To: a@b\r\nMessage-Id: <4LongId@relay.lab.example>\r\nDate: DATE\r\nFrom: MAILER-DAEMON\r\n\r\n"
    )
    assert header == RECEIVED + expected


@pytest.mark.parametrize(
    ("header", "logged"),
    [
        (b"Message-Id: <a@b>", b"<a@b>"),
        (b"message-ID:\t<a@b>\r\nMessage-Id: <second@b>", b"<a@b>"),
        (b"Message-Id:   a b  c \r\n  <d>", b"a b  c ?  <d>"),  # as Postfix logs it
        (b"Message-Id:\r\n\t<a@b>", b"<a@b>"),
        (b"Message-Id:", b""),
        (b"Message-Id: \x01\x1b[2J\x7f", b"??[2J?"),
        (b"Message-Id: " + b"x" * 5000, b"x" * 1000),
        (b"Subject: none", None),
        (b"Message-Id:", b""),
    ],
)
def test_message_id_for_the_log(header: bytes, logged: bytes | None) -> None:
    made_by = cleaner()
    clean(header + b"\r\n\r\nb", made_by)
    assert made_by.message_ids[:1] == ([] if logged is None else [(False, logged)])


def test_resent_message_id_and_reuse() -> None:
    made_by = cleaner()
    clean(b"Resent-Message-Id: <r@b>\r\nMessage-Id: <m@b>\r\n", made_by)
    assert made_by.message_ids == [(True, b"<r@b>"), (False, b"<m@b>")]
    clean(b"Subject: x\r\n", made_by)
    assert (made_by.message_ids, made_by.hops) == ([], 1)


def test_a_flood_of_message_ids_is_not_logged() -> None:
    made_by = cleaner()
    clean(b"Message-Id: <m@b>\r\n" * 1000, made_by)
    assert len(made_by.message_ids) == 20


@pytest.mark.parametrize("count", [0, 48, 49])
def test_hops_count_ours(count: int) -> None:
    made_by = cleaner()
    clean(b"Received: x\r\n\ty\r\n" * count + b"Subject: x\r\n", made_by)
    assert made_by.hops == count + 1


def test_header_size_limit_cuts_a_header_and_nothing_else() -> None:
    """H-E09: bounded, and the message goes on behind it."""
    content = b"X-Long: " + b"y" * 200_000 + b"\r\nX-Folded: a" + b"\r\n z" * 50_000 + b"\r\nTo: a@b\r\n\r\nb"
    headers = clean(content, cleaner())
    long, rest = headers.split(b"\r\n", 1)
    assert long == (b"X-Long: " + b"y" * 200_000)[:102400]
    assert rest.startswith(b"X-Folded: a\r\n z\r\n z")
    assert rest.endswith(b"\r\nTo: a@b\r\n\r\n")
    assert len(rest) < 102400 + 20


def test_ten_thousand_headers_are_linear() -> None:
    """H-E10."""
    times = []
    for scale in (1, 4):
        content = b"X-A: b\r\n" * 2500 * scale + b"To: " + b"a@b,\r\n " * 12_500 * scale + b"c@d\r\n\r\nb"
        start = time.process_time()
        assert len(clean(content, cleaner(10**6))) > 100_000 * scale
        times.append(time.process_time() - start)
    assert times[1] < 12 * times[0] + 0.5  # four times as much


def test_message_drop_headers_is_a_setting() -> None:
    made_by = cleaner(dropped=[b"X-Secret", b"message-id"])
    assert clean(b"Bcc: a@b\r\nx-SECRET: 1\r\nMessage-Id: <m@i>\r\n", made_by) == b"Bcc: a@b\r\n\r\n"
    assert made_by.message_ids == [(False, b"<m@i>")]


@pytest.mark.parametrize("text", [b"no header", b"two words: x", b": x"])
def test_undisclosed_header_must_be_one(text: bytes) -> None:
    with pytest.raises(ValueError, match="undisclosed_recipients_header"):
        cleaner(undisclosed=text)


def test_no_object_stays_alive() -> None:
    before = live_objects()
    clean(b"Subject: x\r\n", cleaner())
    assert live_objects() == before
