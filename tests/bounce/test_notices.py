"""Notices are what RFC 3464 asks for, Postfix's own in form, and safe whatever the peers said."""

from __future__ import annotations

import email
from dataclasses import replace

import pytest
from bounce_parts import (
    CONTENT,
    NOW,
    about,
    envelope,
    failure,
    head,
    octets,
    parsed,
    report_fields,
    settings_with,
)
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fastrelay.borders import Flag, Notify, Status
from fastrelay.bounce import Addressee, addressee, discard_text, make_notice, make_postmaster_copy, text

pytestmark = pytest.mark.usefixtures("utc")

POSTFIX = (
    head(b"Undelivered Mail Returned to Sender", b"relay.lab.example")
    + b"""\
This is the mail system at host relay.lab.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<worse@y.example>: host 127.0.0.1[127.0.0.1] said: 550 go away (in reply to
    RCPT TO command)

<bad@z.example> (expanded from <al@y.example>): host 127.0.0.1[127.0.0.1] said:
    550-5.1.1 no such ?user 550 5.1.1 second line of a long text that goes on
    and on and on until it wraps somewhere surely (in reply to RCPT TO command)

--B41919847AD.1795391223/relay.lab.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.lab.example
Original-Envelope-Id: abc=def
X-Postfix-Queue-ID: B41919847AD
X-Postfix-Sender: rfc822; s@x.example
Arrival-Date: Sun, 22 Nov 2026 23:47:03 +0000 (UTC)

Final-Recipient: rfc822; worse@y.example
Original-Recipient: rfc822;o+rig@q
Action: failed
Status: 5.0.0
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550 go away

Final-Recipient: rfc822; bad@z.example
Original-Recipient: rfc822;al@y.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; 127.0.0.1
Diagnostic-Code: smtp; 550-5.1.1 no such ?user 550 5.1.1 second line of a long
    text that goes on and on and on until it wraps somewhere surely

--B41919847AD.1795391223/relay.lab.example
Content-Description: Undelivered Message
Content-Type: message/rfc822

Return-Path: <s@x.example>
Subject: orig
From: s@x.example

line1
..line

--B41919847AD.1795391223/relay.lab.example--
"""
)


def notice_of(
    failed: list,
    sender: bytes = b"s@x.example",
    content=CONTENT,
    flags: int = 0,
    envid=b"",
    size: int = 0,
    **changes,
):
    about_it = replace(envelope(sender, flags, envid), size=size)
    return make_notice(about(failed, about_it, content=content, **changes))


def test_it_is_what_postfix_writes() -> None:
    """Taken from Postfix 3.7.11 with smtputf8_enable; ours says 7bit and us-ascii where that is the truth."""
    long = (
        b"550-5.1.1 no such \x01user 550 5.1.1 second line of a long text that goes on and on and on "
        b"until it wraps somewhere surely"
    )
    said = b"host 127.0.0.1[127.0.0.1] said: %b (in reply to RCPT TO command)"
    failed = [
        failure(
            b"worse@y.example",
            said % b"550 go away",
            b"550 go away",
            b"127.0.0.1",
            b"5.0.0",
            orcpt=b"rfc822;o+2Brig@q",
        ),
        failure(b"bad@z.example", said % long, long, b"127.0.0.1", original=b"al@y.example"),
    ]
    made = notice_of(failed, envid=b"abc+3Ddef", myorigin="relay.lab.example")
    assert made is not None
    expected = POSTFIX.replace(b"\n", b"\r\n").replace(
        b"47:03 +0000 (UTC)\r\n\r\nFinal", b"47:02 +0000 (UTC)\r\n\r\nFinal"
    )
    assert octets(made) == expected
    parsed(made)


def test_envelope_and_log() -> None:
    made = notice_of([failure()])
    assert made is not None
    assert (made.envelope.sender, made.envelope.notice_of, made.envelope.arrival) == (b"", 77, NOW)
    assert [r.address for r in made.envelope.recipients] == [b"s@x.example"]
    assert made.envelope.size == len(octets(made))
    assert made.envelope.flags == 0
    assert b"Message-Id: " + made.envelope.message_id in octets(made)
    assert made.log_text == b"B41919847AD: sender non-delivery notification: C4289984016"
    assert parsed(made)["Auto-Submitted"] == "auto-replied"  # RFC 3834: nobody's autoresponder answers


def test_expired_and_local_failures() -> None:
    expired = failure(b"a@b", b"connect to x[1.2.3.4]:25: timed out", b"", b"", b"4.4.1", Status.EXPIRED)
    made = notice_of([expired], mail_name="My (mail); relay")
    assert made is not None
    fields = report_fields(parsed(made))
    assert (fields[1]["Action"], fields[1]["Status"]) == ("failed", "4.4.1")
    assert fields[1]["Remote-MTA"] is None
    assert fields[1]["Diagnostic-Code"] == "X-My--mail---relay; connect to x[1.2.3.4]:25: timed out"


@pytest.mark.parametrize("flags", [0, Flag.RET_FULL])
def test_large_messages_come_back_as_headers(flags: int) -> None:
    content = [b"Subject: big\r\n", b"X: y\r\n\r", b"\n" + b"x" * 70 + b"\r\n", b"y" * 60_000 + b"\r\n"]
    made = notice_of([failure()], content=content, flags=flags, size=60_100)
    assert made is not None
    part = parsed(made).get_payload()[2]
    assert part.get_content_type() == "text/rfc822-headers"
    assert part.get_payload().split() == ["Return-Path:", "<s@x.example>", "Subject:", "big", "X:", "y"]
    body = b"y\r\n" * 30_000
    unlimited = notice_of([failure()], content=[b"A: b\r\n\r\n" + body], size=90_008, bounce_size_limit=0)
    assert unlimited is not None and len(octets(unlimited)) > 90_000


@pytest.mark.parametrize("content", [[b"\r\nbody\r\n"], [b"Only: header\r\n"], [b""], []])
def test_ret_hdrs_whatever_the_message(content: list[bytes]) -> None:
    made = notice_of([failure()], content=content, flags=Flag.RET_HDRS)
    assert made is not None
    payload = parsed(made).get_payload()[2].get_payload()
    assert "body" not in payload and ("Only: header" in payload) == (content == [b"Only: header\r\n"])


def test_notify() -> None:
    never = failure(b"never@y", notify=Notify.NEVER)
    success = failure(b"success@y", notify=Notify.SUCCESS)
    asked = failure(b"asked@y", notify=Notify.FAILURE | Notify.DELAY)
    assert notice_of([never, success]) is None
    made = notice_of([never, asked, success])
    assert made is not None
    assert [f["Final-Recipient"] for f in report_fields(parsed(made))[1:]] == ["rfc822; asked@y"]
    assert b"never@y" not in octets(made)


def test_the_chain_ends() -> None:
    """Mail -> notice from <> -> double bounce if asked for -> nothing; no settings make it go on."""
    for classes in [(), ("resource", "software"), ("bounce",), ("2bounce",), ("bounce", "2bounce")]:
        sender = b"s@x.example"
        notices = 0
        while (made := notice_of([failure()], sender, notify_classes=classes)) is not None:
            assert made.envelope.sender in (b"", b"double-bounce@relay.lab.example")
            sender = made.envelope.sender
            notices += 1
            assert notices < 3
        assert notices == (2 if {"bounce", "2bounce"} & set(classes) else 1)


def test_double_bounce() -> None:
    made = notice_of([failure()], b"", notify_classes=("2bounce",), _2bounce_notice_recipient="pm@x.example")
    assert made is not None
    assert (made.envelope.sender, made.envelope.recipients[0].address) == (
        b"double-bounce@relay.lab.example",
        b"pm@x.example",
    )
    message = parsed(made)
    assert (message["Subject"], message["Auto-Submitted"]) == (
        "Postmaster Copy: Undelivered Mail",
        "auto-generated",
    )
    assert "sorry" not in message.get_payload()[0].get_payload()
    assert report_fields(message)[0]["X-Postfix-Sender"] == "rfc822; MAILER-DAEMON@origin.example"
    assert "Return-Path: <MAILER-DAEMON@origin.example>" in message.get_payload()[2].as_string()
    assert made.log_text == b"B41919847AD: postmaster non-delivery notification: C4289984016"
    local = notice_of([failure()], b"", notify_classes=("2bounce",))
    assert local is not None and local.envelope.recipients[0].address == b"postmaster@origin.example"


def test_the_end_of_the_chain_is_said() -> None:
    settings = settings_with()
    assert addressee(settings, b"Double-Bounce@relay.lab.EXAMPLE") is Addressee.NOBODY_EVER
    assert discard_text(settings, b"double-bounce@relay.lab.example", b"Q") == (
        True,
        b"Q: undeliverable postmaster notification discarded",
    )
    assert addressee(settings, b"") is Addressee.NOBODY
    assert discard_text(settings, b"", b"Q") is None


def test_postmaster_copy() -> None:
    def copy(sender: bytes = b"s@x", **changes: object):
        return make_postmaster_copy(about([failure()], envelope(sender), **changes))

    made = copy(notify_classes=("bounce",), bounce_notice_recipient="bn@x.example")
    assert made is not None
    assert (made.envelope.notice_of, made.envelope.recipients[0].address) == (0, b"bn@x.example")
    assert made.envelope.sender == b"double-bounce@relay.lab.example"
    assert parsed(made).get_payload()[2].get_content_type() == "text/rfc822-headers"
    assert copy() is None
    assert copy(notify_classes=("2bounce",)) is None
    assert copy(b"", notify_classes=("bounce",)) is None


HOSTILE = st.binary(max_size=120) | st.sampled_from(
    [
        b"a\r\n\r\n--x--",
        b"a\r\nBcc: victim@x",
        b"x" * 3000,
        b".\r\n.\r\n",
        b"a\n\nSubject: x",
        b"",
        b" ",
        b"\xff\xfe\x00",
    ]
)


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from([0, int(Flag.SMTPUTF8)]))
@hypothesis_settings(max_examples=200, deadline=None)
def test_nothing_from_a_peer_breaks_out(
    text: bytes, mta: bytes, envid: bytes, orcpt: bytes, address: bytes, flags: int
) -> None:
    failed = [failure(address, text, text, mta, original=orcpt, orcpt=orcpt), failure(b"second@y")]
    made = notice_of(failed, envid=envid, flags=flags)
    assert made is not None
    message = parsed(made)
    assert message["Bcc"] is None and message["Subject"] == "Undelivered Mail Returned to Sender"
    fields = report_fields(message)
    assert len(fields) == 3
    allowed = {"Final-Recipient", "Original-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"}
    assert set(fields[1].keys()) | set(fields[2].keys()) <= allowed
    assert fields[2]["Final-Recipient"] == "rfc822; second@y"


@given(st.lists(st.sampled_from([b" ", b" ", b"a", b"bcd", b"x" * 74, b"y" * 899, b"z" * 3000, b" " * 90])))
def test_long_lines_are_broken_at_blanks(pieces: list[bytes]) -> None:
    line = b"Name: " + b"".join(pieces)
    first, *others = text.wrap(line).split(b"\r\n")
    assert len(first) <= 900 and all(each[:4] == b"    " and each[4:5] not in b" " for each in others)
    assert all(
        len(each) <= 79 or (b" " not in each.strip() and len(each) <= 904) for each in (first, *others)
    )
    assert b"".join(line.split()) == b"".join(b"".join((first, *others)).split())
    assert len(line) > 79 or not others


@pytest.mark.parametrize("evil", [b"", b"=", b"=="])
def test_the_enclosed_message_cannot_end_its_part(evil: bytes) -> None:
    boundary = b"B41919847AD.1795391223/relay.lab.example" + evil
    content = [
        b"Subject: x\r\n\r\n--"
        + boundary
        + b"--\r\n\r\n--"
        + boundary
        + b"\r\nContent-Type: text/html\r\n\r\nevil\r\n"
    ]
    made = notice_of([failure()], content=content)
    assert made is not None
    assert "evil" in parsed(made).get_payload()[2].as_string()


def test_eight_bit_and_utf8() -> None:
    made = notice_of([failure()], content=[b"Subject: x\r\n\r\n\xe9\r\n"])
    assert made is not None
    assert made.envelope.flags == Flag.EIGHT_BIT_BODY | Flag.BODY_8BITMIME
    assert parsed(made)["Content-Transfer-Encoding"] == "8bit"

    address = "jörg@büro.example".encode()
    made = notice_of([failure(address)], flags=Flag.SMTPUTF8)
    assert made is not None and made.envelope.flags & Flag.SMTPUTF8
    wire = octets(made)
    assert b"Content-Type: message/global-delivery-status\r\n" in wire  # RFC 6533
    assert b"Final-Recipient: utf-8; " + address + b"\r\n" in wire
    assert b"Content-Type: message/global\r\n" in wire

    plain = notice_of([failure()], flags=Flag.SMTPUTF8)
    assert plain is not None and plain.envelope.flags == 0 and b"global" not in octets(plain)


def test_memoryviews_and_the_returned_message_stays_as_it_is() -> None:
    content = [memoryview(b"Subject: x\r\n\r\n"), memoryview(b"..dot\r\n\tx  \r\n")]
    made = notice_of([failure()], content=content)
    assert made is not None
    assert b"Subject: x\r\n\r\n..dot\r\n\tx  \r\n\r\n--" in octets(made)
    enclosed = parsed(made).get_payload()[2].get_payload()[0]
    assert isinstance(enclosed, email.message.Message) and enclosed.get_payload().startswith(
        ".dot\r\n\tx  \r\n"
    )
