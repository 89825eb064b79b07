"""The texts of Postfix's log lines: what pflogsumm, fail2ban and the log exporters read.

Callers hand the result to MailLog.line, which filters it; nothing here escapes anything. Addresses come in
external form, times in seconds. A function makes one line; each costs about a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable

NOQUEUE = b"NOQUEUE"

_HUNDREDTHS = [(b"%d.%02d" % divmod(n, 100)).rstrip(b"0").rstrip(b".") for n in range(101)]
_TENTHS = [(b"%d.%d" % divmod(n, 10)).removesuffix(b".0") for n in range(101)]


def delay_text(seconds: float) -> bytes:
    """Two significant digits, two after the point at most, no trailing zeros: Postfix's format_tv()."""
    if seconds < 1:
        return _HUNDREDTHS[int(seconds * 100 + 0.5)] if seconds > 0 else b"0"
    if seconds < 10:
        return _TENTHS[int(seconds * 10 + 0.5)]
    return b"%d" % (seconds + 0.5)


def connect(name: bytes, address: bytes) -> bytes:
    return b"connect from %b[%b]" % (name, address)


def disconnect(name: bytes, address: bytes, counts: Iterable[tuple[bytes, int, int]]) -> bytes:
    """`counts`: (command, accepted, seen), in the order of Postfix's command table."""
    parts = []
    accepted = total = 0
    for command, good, seen in counts:
        if seen:
            parts.append(
                b" %b=%d" % (command, good) if good == seen else b" %b=%d/%d" % (command, good, seen)
            )
            accepted += good
            total += seen
    commands = (
        b" commands=%d" % accepted if accepted == total and total else b" commands=%d/%d" % (accepted, total)
    )
    return b"disconnect from %b[%b]%b%b" % (name, address, b"".join(parts), commands)


def lost_connection(reason: bytes, where: bytes, name: bytes, address: bytes) -> bytes:
    """`reason`: lost connection, timeout, too many errors; `where`: the command, as in `DATA (12 bytes)`."""
    return b"%b after %b from %b[%b]" % (reason, where, name, address)


def client(queue_id: bytes, name: bytes, address: bytes) -> bytes:
    return b"%b: client=%b[%b]" % (queue_id, name, address)


def message_id(queue_id: bytes, value: bytes) -> bytes:
    """`value` as the header has it; b"" shows as the null id."""
    return b"%b: message-id=%b" % (queue_id, value or b"<>")


def resent_message_id(queue_id: bytes, value: bytes) -> bytes:
    return b"%b: resent-message-id=%b" % (queue_id, value)


def queue_active(queue_id: bytes, sender: bytes, size: int, recipients: int) -> bytes:
    return b"%b: from=<%b>, size=%d, nrcpt=%d (queue active)" % (queue_id, sender, size, recipients)


def removed(queue_id: bytes) -> bytes:
    return b"%b: removed" % queue_id


def expired(queue_id: bytes, sender: bytes) -> bytes:
    return b"%b: from=<%b>, status=expired, returned to sender" % (queue_id, sender)


def delivery(
    queue_id: bytes,
    recipient: bytes,
    original: bytes,
    relay: bytes,
    connection_use: int,
    delays: tuple[float, float, float, float],
    dsn: bytes,
    status: bytes,
    text: bytes,
) -> bytes:
    """One recipient's verdict. `delays`: before the queue manager, in it, connection set-up, transmission."""
    a, b, c, d = delays
    return b"%b: to=<%b>%b, relay=%b%b, delay=%b, delays=%b/%b/%b/%b, dsn=%b, status=%b (%b)" % (
        queue_id,
        recipient,
        b", orig_to=<%b>" % original if original and original.lower() != recipient.lower() else b"",
        relay,
        b", conn_use=%d" % connection_use if connection_use > 1 else b"",
        delay_text(a + b + c + d),
        delay_text(a),
        delay_text(b),
        delay_text(c),
        delay_text(d),
        dsn,
        status,
        text,
    )


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


def sender_notice(queue_id: bytes, notice_id: bytes) -> bytes:
    return b"%b: sender non-delivery notification: %b" % (queue_id, notice_id)


def postmaster_notice(queue_id: bytes, notice_id: bytes) -> bytes:
    return b"%b: postmaster non-delivery notification: %b" % (queue_id, notice_id)


def notice_discarded(queue_id: bytes) -> bytes:
    """Logged as a warning: the double bounce itself failed."""
    return b"%b: undeliverable postmaster notification discarded" % queue_id
