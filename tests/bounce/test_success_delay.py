"""Notices of success and delay are Postfix's own in form, and go to whom Postfix sends them."""

from __future__ import annotations

import pytest
from bounce_parts import about, envelope, head, octets, parsed, report_fields, settings_with

from fastrelay.borders import Flag, Notify, Outcome, Recipient, Status
from fastrelay.bounce import DELAY, SUCCESS, discard_text, make_notice, make_postmaster_copy
from fastrelay.bounce.report import said

pytestmark = pytest.mark.usefixtures("utc")

REPORT = (
    head(b"Successful Mail Delivery Report", b"origin.example")
    + b"""\
This is the mail system at host relay.lab.example.

Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.

                   The mail system

<list@y.example>: alias expanded

<b@y.example>: delivery via mx[1.2.3.4]:25: 250 2.0.0 Ok: queued as SINK

--B41919847AD.1795391223/relay.lab.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.lab.example
Original-Envelope-Id: E+99
X-Postfix-Queue-ID: B41919847AD
X-Postfix-Sender: rfc822; s@x.example
Arrival-Date: Sun, 22 Nov 2026 23:47:02 +0000 (UTC)

Final-Recipient: rfc822; list@y.example
Original-Recipient: rfc822;list@y.example
Action: expanded
Status: 2.0.0
Diagnostic-Code: X-Postfix; alias expanded

Final-Recipient: rfc822; b@y.example
Original-Recipient: rfc822;orig+x@y.example
Action: relayed
Status: 2.0.0
Remote-MTA: dns; mx
Diagnostic-Code: smtp; 250 2.0.0 Ok: queued as SINK

--B41919847AD.1795391223/relay.lab.example
Content-Description: Message Headers
Content-Type: text/rfc822-headers

Return-Path: <s@x.example>
Subject: orig
From: s@x.example

--B41919847AD.1795391223/relay.lab.example--
"""
)
QUEUED = b"250 2.0.0 Ok: queued as SINK"
RELAYED = Outcome(0, Status.SENT, b"2.0.0", QUEUED, b"mx[1.2.3.4]:25", 0.0, 0.0, b"mx", QUEUED, b"relayed")
EXPANDED = Outcome(0, Status.SENT, b"2.0.0", b"alias expanded", action=b"expanded")
LATE = Outcome(0, Status.DEFERRED, b"4.2.0", b"host mx said: 450 busy", b"mx", diagnostic=b"450 busy")


def person(address: bytes, notify: Notify | int = 0, orcpt: bytes = b"") -> Recipient:
    return Recipient(address, address, orcpt, int(notify))


def notice_of(template, told, sender=b"s@x.example", flags=0, envid=b"", **changes):
    return make_notice(about(told, envelope(sender, flags, envid), template, **changes))


def copy_of(template, told, sender=b"s@x.example", **changes):
    return make_postmaster_copy(about(told, envelope(sender), template, **changes))


def test_a_success_report_is_what_postfix_writes() -> None:
    """Taken from Postfix 3.7.11, but for 7bit and us-ascii; RET=FULL changes nothing."""
    told = [
        (person(b"list@y.example", Notify.SUCCESS), EXPANDED),
        (person(b"b@y.example", Notify.SUCCESS, b"rfc822;orig+2Bx@y.example"), RELAYED),
    ]
    made = notice_of(SUCCESS, told, flags=Flag.RET_FULL, envid=b"E+2B99")
    assert made is not None
    assert octets(made).replace(b"\r\n", b"\n") == REPORT
    assert (made.envelope.sender, made.envelope.notice_of) == (b"", 77)
    assert made.log_text == b"B41919847AD: sender delivery status notification: C4289984016"
    parsed(made)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (RELAYED, b"delivery via mx[1.2.3.4]:25: " + QUEUED),
        (Outcome(0, Status.SENT, b"2.0.0", b"gone"), b"gone"),
        (
            Outcome(0, Status.SENT, b"2.0.0", b"forwarded as ABC", b"local"),
            b"delivery via local: alias expanded",
        ),
        (LATE, b"host mx said: 450 busy"),
    ],
)
def test_what_is_said_of_an_outcome(outcome: Outcome, text: bytes) -> None:
    assert said(outcome) == text


def test_the_delay_template() -> None:
    """Hours and days are whole ones, rounded down; Will-Retry-Until is exact."""
    told = [
        (person(b"a@y.example"), LATE),
        (person(b"b@y.example", Notify.DELAY | Notify.SUCCESS), LATE),
        (person(b"c@y.example", Notify.FAILURE), LATE),
        (person(b"d@y.example", Notify.NEVER), LATE),
    ]
    made = notice_of(
        DELAY, told, flags=Flag.RET_FULL, delay_warning_time=5400.0, maximal_queue_lifetime=129600.0
    )
    assert made is not None
    message = parsed(made)
    assert message["Subject"] == "Delayed Mail (still being retried)"
    words = message.get_payload()[0].get_payload()
    assert (
        "could not be delivered for more than 1 hour(s).\r\nIt will be retried until it is 1 day(s) old."
        in words
    )
    assert "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n" in words
    _, first, second = report_fields(message)
    assert first.items() == [
        ("Final-Recipient", "rfc822; a@y.example"),
        ("Original-Recipient", "rfc822;a@y.example"),
        ("Action", "delayed"),
        ("Status", "4.2.0"),
        ("Diagnostic-Code", "smtp; 450 busy"),
        ("Will-Retry-Until", "Tue, 24 Nov 2026 11:47:02 +0000 (UTC)"),
    ]
    assert second["Final-Recipient"] == "rfc822; b@y.example"
    assert message.get_payload()[2]["Content-Description"] == "Undelivered Message Headers"
    assert message.get_payload()[2].get_content_type() == "text/rfc822-headers"
    assert made.log_text == b"B41919847AD: sender delay notification: C4289984016"


def test_the_postmasters_copy_of_a_delay_has_everybody() -> None:
    told = [(person(b"c@y.example", Notify.FAILURE), LATE)]
    assert notice_of(DELAY, told) is None
    assert copy_of(DELAY, told, notify_classes=("bounce",)) is None
    made = copy_of(DELAY, told, notify_classes=("delay",), delay_notice_recipient="late@x.example")
    assert made is not None
    message = parsed(made)
    assert (message["Subject"], message["To"]) == ("Postmaster Warning: Delayed Mail", "late@x.example")
    assert "mail system" not in message.get_payload()[0].get_payload()
    assert [fields["Final-Recipient"] for fields in report_fields(message)[1:]] == ["rfc822; c@y.example"]
    assert made.envelope.sender == b"double-bounce@relay.lab.example"
    assert made.log_text == b"B41919847AD: postmaster delay notification: C4289984016"
    assert copy_of(DELAY, told, b"", notify_classes=("delay",)) is None
    assert copy_of(SUCCESS, told, notify_classes=("bounce", "2bounce", "delay")) is None


def test_success_of_a_notice() -> None:
    """With 2bounce the postmaster gets the report itself, without it nobody does; of a double bounce nobody ever."""
    told = [(person(b"b@y.example", Notify.SUCCESS), RELAYED)]
    made = notice_of(SUCCESS, told, b"", notify_classes=("2bounce",), _2bounce_notice_recipient="pm")
    assert made is not None
    message = parsed(made)
    assert (message["Subject"], message["To"]) == ("Successful Mail Delivery Report", "pm@origin.example")
    assert message["Auto-Submitted"] == "auto-replied"
    assert "successfully delivered" in message.get_payload()[0].get_payload()
    assert made.envelope.sender == b"double-bounce@relay.lab.example"
    assert notice_of(SUCCESS, told, b"", notify_classes=("bounce",)) is None
    twice = b"double-bounce@relay.lab.example"
    assert notice_of(SUCCESS, told, twice, notify_classes=("2bounce",)) is None
    settings = settings_with()
    text = b"Q: not sending trace/success notification for %b-bounce message"
    assert discard_text(settings, b"", b"Q", SUCCESS) == (False, text % b"single")
    assert discard_text(settings, twice, b"Q", SUCCESS) == (False, text % b"double")
    assert discard_text(settings, b"s@x.example", b"Q", SUCCESS) is None
    discarded = (True, b"Q: undeliverable postmaster notification discarded")
    assert discard_text(settings, twice, b"Q", DELAY) == discarded
    assert discard_text(settings, b"s@x.example", b"Q", DELAY) is None
