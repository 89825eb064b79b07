"""A failed message, and the notice of it taken apart by Python's own parser."""

from __future__ import annotations

import email
import email.message
import email.policy
import re

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.bounce import BounceSettings, Notice

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


def settings_with(**changes: object) -> BounceSettings:
    return BounceSettings(**(VALUES | changes))  # type: ignore[arg-type]


def envelope(sender: bytes = b"s@x.example", flags: int = 0, envid: bytes = b"") -> Envelope:
    return Envelope(sender, [], NOW - 1, flags=flags, envid=envid)


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
