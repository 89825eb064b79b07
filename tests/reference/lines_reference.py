"""The texts of the hot log lines, the slow and obvious way: the oracle of log/_line.pyx."""

from __future__ import annotations

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


def disconnect(name: bytes, address: bytes, counts: bytes) -> bytes:
    return b"disconnect from %b[%b]%b" % (name, address, counts)


def client(queue_id: bytes, name: bytes, address: bytes) -> bytes:
    return b"%b: client=%b[%b]" % (queue_id, name, address)


def message_id(queue_id: bytes, value: bytes) -> bytes:
    """`value` as the header has it; <> where there is none."""
    return b"%b: message-id=%b" % (queue_id, value)


def queue_active(queue_id: bytes, sender: bytes, size: int, recipients: int) -> bytes:
    return b"%b: from=<%b>, size=%d, nrcpt=%d (queue active)" % (queue_id, sender, size, recipients)


def removed(queue_id: bytes) -> bytes:
    return b"%b: removed" % queue_id


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
