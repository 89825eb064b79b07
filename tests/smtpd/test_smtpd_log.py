"""What the receive path writes: log lines as Postfix has them, and the Received header."""

from __future__ import annotations

import re

import pytest

from fastrelay.receive._session import Status
from support.receive_lab import NOW, BareWire, ReceiveLab

CLIENT = "127.0.0.9"


def talk(lab: ReceiveLab, *said: bytes, name: bytes = b"unknown") -> BareWire:
    wire = BareWire(lab.session(CLIENT, name), lambda data: [data])
    for line in said:
        wire.send(line)
    return wire


HELLO = b"EHLO client.example\r\n"
OPEN = (HELLO, b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<u@relay.example>\r\n")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            (HELLO, b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<u@outside.example>\r\n"),
            rb"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.9\]: "
            rb"554 5\.7\.1 <u@outside\.example>: Relay access denied; "
            rb"from=<a@sender\.example> to=<u@outside\.example> proto=ESMTP helo=<client\.example>",
        ),
        (
            (b"MAIL FROM:<>\r\n", b"RCPT TO:<u@outside.example>\r\n"),
            rb"NOQUEUE: reject: RCPT from unknown\[127\.0\.0\.9\]: "
            rb"554 5\.7\.1 <u@outside\.example>: Relay access denied; "
            rb"from=<> to=<u@outside\.example> proto=SMTP",
        ),
        ((*OPEN, b"RCPT TO:<u@outside.example>\r\n"), rb"[0-9A-F]+: reject: RCPT from .*"),
        (OPEN, rb"[0-9A-F]+: client=unknown\[127\.0\.0\.9\]"),
        ((*OPEN, b"DATA\r\n", b"Message-Id: <x@y>\r\n\r\n.\r\n"), rb"[0-9A-F]+: message-id=<x@y>"),
        (
            (HELLO, b"BDAT x y z\r\n"),
            rb"warning: NOQUEUE: malformed BDAT command syntax from unknown\[127\.0\.0\.9\]: BDAT x y z",
        ),
        (
            (b"GET / HTTP/1.1\r\n",),
            rb"warning: non-SMTP command from unknown\[127\.0\.0\.9\]: GET / HTTP/1\.1",
        ),
        (
            (b"EHLO x\r\nNOOP\r\n",),
            rb"improper command pipelining after EHLO from unknown\[127\.0\.0\.9\]: NOOP\\r\\n",
        ),
        (
            (HELLO, b"ETRN x.example\r\n"),
            rb"warning: reject: ETRN x\.example\.\.\. from unknown\[127\.0\.0\.9\]",
        ),
        (
            (HELLO, b"MAIL FROM:<a@sender.example> SIZE=999999999999\r\n"),
            rb"NOQUEUE: reject: MAIL from unknown\[127\.0\.0\.9\]: 552 5\.3\.4 Message size exceeds fixed limit; "
            rb"from=<a@sender\.example> proto=ESMTP helo=<client\.example>",
        ),
        (
            (HELLO, b"MAIL FROM:<a@b..c>\r\n"),
            rb"warning: Illegal address syntax from unknown\[127\.0\.0\.9\] in MAIL command: <a@b\.\.c>",
        ),
        (
            (*OPEN, b"RCPT TO:<a@[foo]>\r\n"),
            rb"warning: Illegal address syntax from unknown\[127\.0\.0\.9\] in RCPT command: <a@\[foo\]>",
        ),
        (
            (*OPEN, b"BDAT 99999999999 LAST\r\n"),
            rb"warning: [0-9A-F]+: BDAT request from unknown\[127\.0\.0\.9\] exceeds message size limit",
        ),
        (
            (*OPEN, b"DATA\r\n", b"Received: x\r\n" * 50 + b"\r\n.\r\n"),
            rb"warning: [0-9A-F]+: message rejected: hopcount exceeded",
        ),
        ((b"FOO\r\n",) * 20, rb"too many errors after UNKNOWN from unknown\[127\.0\.0\.9\]"),
    ],
)
def test_lines(said: tuple[bytes, ...], line: bytes) -> None:
    lab = ReceiveLab()
    talk(lab, *said)
    assert any(re.fullmatch(line, found) for found in lab.log), lab.log


HOSTILE = (b"\x1b[31m", b"\0", b"\x07", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff", b"\r", b"\x7f")


@pytest.mark.parametrize("byte", HOSTILE)
@pytest.mark.parametrize(
    "lines",
    [
        (b"EHLO a%bb\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<u@outside.example>\r\n"),
        (b"MAIL FROM:<a%b@b.example> SMTPUTF8\r\n", b"RCPT TO:<u@outside.example>\r\n"),
        (b"MAIL FROM:<a@b.example> SMTPUTF8\r\n", b"RCPT TO:<u%b@outside.example>\r\n"),
        (b"GET %b\r\n",),
        (b"EHLO x\r\n", b"MAIL FROM:<a@b..%b>\r\n"),
        (b"BDAT %b\r\n",),
        (b"ETRN %b\r\n",),
        (b"EHLO x\r\nNOOP %b\r\n",),
        (*OPEN, b"DATA\r\n", b"Message-Id: <a%bb>\r\n\r\n.\r\n"),
    ],
)
def test_nothing_that_a_client_sends_changes_how_the_log_reads(byte: bytes, lines: tuple[bytes, ...]) -> None:
    """H-G07: one line, no control characters."""
    lab = ReceiveLab()
    talk(lab, *(line.replace(b"%b", byte) for line in lines))
    for line in lab.log:
        text = line.decode()  # and it is UTF-8
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in text), ascii(text)


def received(wire: BareWire) -> bytes:
    return wire.messages[0][2][0].split(b"\r\nSubject")[0]


def test_received_header_for_one_recipient() -> None:
    wire = talk(ReceiveLab(), *OPEN, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n", name=b"host.example")
    assert re.fullmatch(
        rb"Received: from client\.example \(host\.example \[127\.0\.0\.9\]\)\r\n"
        rb"\tby mx\.local\.example \(Mail\) with ESMTP id [0-9A-F]+\r\n"
        rb"\tfor <u@relay\.example>; \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)",
        received(wire),
    )


def test_received_header_for_two_recipients_tells_of_none() -> None:
    """A recipient is not told of the other."""
    more = b"RCPT TO:<v@relay.example>\r\n"
    wire = talk(ReceiveLab(), b"HELO c\r\n", *OPEN[1:], more, b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
    assert re.fullmatch(
        rb"Received: from c \(unknown \[127\.0\.0\.9\]\)\r\n"
        rb"\tby mx\.local\.example \(Mail\) with SMTP id [0-9A-F]+;\r\n\t\w{3}, .*",
        received(wire),
    )


def test_the_name_in_hello_cannot_add_headers() -> None:
    """H-B15."""
    hello = b"EHLO a\tX-Evil:\xc3\xa9 (b) \xe2\x80\xa8" + b"x" * 300 + b"\r\n"
    wire = talk(ReceiveLab(), hello, *OPEN[1:], b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n")
    first = received(wire).split(b"\r\n")[0]
    assert re.fullmatch(rb"Received: from [\x21-\x7e]{1,255} \(unknown \[127\.0\.0\.9\]\)", first), first


def test_a_commit_that_fails_is_told_to_the_client() -> None:
    lab = ReceiveLab()
    session = lab.session()
    for line in (*OPEN, b"DATA\r\n"):
        session.feed(line, NOW)
    session.output()
    assert session.feed(b"x\r\n.\r\n", NOW) == Status.MESSAGE_READY
    session.take_message()
    assert session.committed(NOW, b"452 4.3.1 Insufficient system storage") == Status.NEED_DATA
    assert session.output() == b"452 4.3.1 Insufficient system storage\r\n"
    assert (session.transaction.sender, session.transaction.recipients) == (None, [])
