"""A failed message, and the notice of it taken apart by Python's own parser."""

from __future__ import annotations

import email
import email.message
import email.policy
import re

from fastrelay.borders import Content, Envelope, Outcome, Recipient, Status
from fastrelay.bounce import FAILURE, BounceSettings, Notice, Subject, Template

NOW = 1795391223.9
VALUES: dict[str, object] = {
    "_2bounce_notice_recipient": "postmaster",
    "bounce_notice_recipient": "postmaster",
    "bounce_size_limit": 50000,
    "delay_notice_recipient": "postmaster",
    "delay_warning_time": 14400.0,
    "double_bounce_sender": "double-bounce",
    "enable_long_queue_ids": False,
    "mail_name": "Postfix",
    "maximal_queue_lifetime": 432000.0,
    "myhostname": "relay.lab.example",
    "myorigin": "origin.example",
    "notify_classes": ("resource", "software"),
}
CONTENT = [b"Subject: orig\r\nFrom: s@x.example\r\n\r\n", b"line1\r\n..line\r\n"]

HEAD = b"""Received: by relay.lab.example (Postfix)
	id C4289984016; Sun, 22 Nov 2026 23:47:03 +0000 (UTC)
Date: Sun, 22 Nov 2026 23:47:03 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@%b>
Subject: %b
To: s@x.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="B41919847AD.1795391223/relay.lab.example"
Content-Transfer-Encoding: 7bit
Message-Id: <20261122234703.C4289984016@relay.lab.example>

This is a MIME-encapsulated message.

--B41919847AD.1795391223/relay.lab.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

"""


def head(subject: bytes, origin: bytes) -> bytes:
    """How Postfix's notices begin."""
    return HEAD % (origin, subject)


def settings_with(**changes: object) -> BounceSettings:
    return BounceSettings(**(VALUES | changes))  # type: ignore[arg-type]


def envelope(sender: bytes = b"s@x.example", flags: int = 0, envid: bytes = b"") -> Envelope:
    return Envelope(sender, [], NOW - 1, flags=flags, envid=envid)


def about(
    told: list[tuple[Recipient, Outcome]],
    of: Envelope,
    template: Template = FAILURE,
    content: Content = CONTENT,
    **changes: object,
) -> Subject:
    """What became of `told`, recipients of the message `of`."""
    return Subject(
        template, settings_with(**changes), of, told, content, NOW, b"B41919847AD", b"C4289984016", 77
    )


def failure(
    address: bytes = b"bad@y.example",
    text: bytes = b"host mx[1.2.3.4] said: 550 5.1.1 no (in reply to RCPT TO command)",
    diagnostic: bytes = b"550 5.1.1 no",
    remote_mta: bytes = b"mx.example",
    dsn: bytes = b"5.1.1",
    status: Status = Status.BOUNCED,
    **recipient: object,
) -> tuple[Recipient, Outcome]:
    outcome = Outcome(0, status, dsn, text, remote_mta=remote_mta, diagnostic=diagnostic)
    return Recipient(address, **({"original": address} | recipient)), outcome  # type: ignore[arg-type]


def octets(notice: Notice) -> bytes:
    return b"".join(notice.content)


def parsed(notice: Notice) -> email.message.Message:
    """As the receiving side sees it: dots unstuffed, and well formed all the way down."""
    wire = octets(notice)
    assert (
        wire.endswith(b"\r\n")
        and b"\n" not in wire.replace(b"\r\n", b"")
        and b"\r" not in wire.replace(b"\r\n", b"")
    )
    assert max(map(len, wire.split(b"\r\n"))) <= 998
    assert all(line.startswith(b"..") for line in wire.split(b"\r\n") if line.startswith(b"."))
    message = email.message_from_bytes(re.sub(rb"(?m)^\.", b"", wire), policy=email.policy.compat32)
    for part in message.walk():
        assert not part.defects, part.defects
    assert message.get_content_type() == "multipart/report"
    assert len(message.get_payload()) == 3
    return message


def report_fields(message: email.message.Message) -> list[email.message.Message]:
    """message/delivery-status: the message's fields, then each recipient's."""
    part = message.get_payload()[1]
    blocks = part.get_payload()
    if part.get_content_type() == "message/global-delivery-status":  # Python 3.11 takes it for a message
        texts = blocks[0].as_string().replace("\r\n", "\n").strip().split("\n\n")
        blocks = [email.message_from_string(block) for block in texts]
    return [block for block in blocks if block.keys()]
