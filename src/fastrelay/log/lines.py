"""The texts of Postfix's log lines: what pflogsumm, fail2ban and the log exporters read.

Callers hand the result to MailLog.line, which filters it; nothing here escapes anything. Addresses come in
external form, times in seconds. A function makes one line; those of every message are in _line.pyx.
"""

from __future__ import annotations

from fastrelay.log._line import (
    client,
    connect,
    delay_text,
    delivery,
    disconnect,
    message_id,
    queue_active,
    removed,
)

__all__ = [
    "NOQUEUE",
    "client",
    "connect",
    "delay_text",
    "delivery",
    "disconnect",
    "expired",
    "lost_connection",
    "message_id",
    "notice_discarded",
    "postmaster_notice",
    "queue_active",
    "refusal",
    "removed",
    "resent_message_id",
    "sender_notice",
    "success_notice_omitted",
]

NOQUEUE = b"NOQUEUE"


def lost_connection(reason: bytes, where: bytes, name: bytes, address: bytes) -> bytes:
    """`reason`: lost connection, timeout, too many errors; `where`: the command, as in `DATA (12 bytes)`."""
    return b"%b after %b from %b[%b]" % (reason, where, name, address)


def resent_message_id(queue_id: bytes, value: bytes) -> bytes:
    return b"%b: resent-message-id=%b" % (queue_id, value)


def expired(queue_id: bytes, sender: bytes, status: bytes = b"expired") -> bytes:
    """`status`: expired, force-expired."""
    return b"%b: from=<%b>, status=%b, returned to sender" % (queue_id, sender, status)


def refusal(
    queue_id: bytes,
    action: bytes,
    where: bytes,
    client: tuple[bytes, bytes],
    reply: bytes,
    sender: bytes | None,
    recipient: bytes | None,
    protocol: bytes,
    helo: bytes | None,
) -> bytes:
    """smtpd's `NOQUEUE: reject: RCPT from ...`; `action` is reject, warn, hold, ...; None: not given yet."""
    return b"%b: %b: %b from %b[%b]: %b;%b%b%b%b" % (
        queue_id or NOQUEUE,
        action,
        where,
        client[0],
        client[1],
        reply,
        b"" if sender is None else b" from=<%b>" % sender,
        b"" if recipient is None else b" to=<%b>" % recipient,
        b" proto=%b" % protocol if protocol else b"",
        b"" if helo is None else b" helo=<%b>" % helo,
    )


def sender_notice(queue_id: bytes, notice_id: bytes, kind: bytes = b"non-delivery") -> bytes:
    """`kind`: non-delivery, delay, delivery status."""
    return b"%b: sender %b notification: %b" % (queue_id, kind, notice_id)


def postmaster_notice(queue_id: bytes, notice_id: bytes, kind: bytes = b"non-delivery") -> bytes:
    return b"%b: postmaster %b notification: %b" % (queue_id, kind, notice_id)


def success_notice_omitted(queue_id: bytes, bounces: bytes) -> bytes:
    """`bounces`: what the message is itself, single-bounce or double-bounce."""
    return b"%b: not sending trace/success notification for %b message" % (queue_id, bounces)


def notice_discarded(queue_id: bytes) -> bytes:
    """Logged as a warning: the double bounce itself failed."""
    return b"%b: undeliverable postmaster notification discarded" % queue_id
