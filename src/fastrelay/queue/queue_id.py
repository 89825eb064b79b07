"""Queue ids in Postfix's two forms (mail_queue.h), both naming the same number.

A message's number is its arrival in microseconds times 256 plus its shard. The short form is Postfix's:
five upper-case hexadecimal digits of microseconds, then, where Postfix has the inode, seconds and shard.
The long form is six or more digits of seconds and four of microseconds in base 52, "z", and the shard in
base 51.
"""

SHARD_BITS = _BITS = 8  # the second is C's
_SHARD = (1 << SHARD_BITS) - 1
_EPOCH = 1704067200  # 2024-01-01: keeps the short form at 14 digits until 2032
_BASE52 = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_BASE52)}
_INODE = 51**3  # so that the last part has the length that log readers know
_HEX = frozenset(b"0123456789ABCDEF")


def number(microseconds: int, shard: int) -> int:
    """The message number of an arrival."""
    return microseconds << SHARD_BITS | shard


def shard_of(message_id: int) -> int:
    """The shard that a message is in."""
    return message_id & _SHARD


def encode(message_id: int, long: bool) -> bytes:
    """The queue id that logs and tools show."""
    moment = message_id >> _BITS
    seconds = moment // 1_000_000
    microseconds = moment - seconds * 1_000_000
    shard = message_id & _SHARD
    if long:
        return _digits(seconds, 52, 6) + _digits(microseconds, 52, 4) + b"z" + _digits(_INODE + shard, 51, 1)
    if seconds < _EPOCH:
        raise ValueError(f"message number {message_id} is before the epoch of short queue ids")
    return _short(microseconds, (seconds - _EPOCH) << _BITS | shard)


def decode(queue_id: bytes) -> int:
    """The message number; ValueError: not a queue id of ours."""
    try:
        found = _decode_long(queue_id) if b"z" in queue_id else _decode_short(queue_id)
        if 0 <= found < 1 << 64 and encode(found, b"z" in queue_id) == queue_id:
            return found
    except (KeyError, OverflowError):
        pass  # a byte outside the alphabet: the same answer as any other malformed id
    raise ValueError(f"not a queue id: {queue_id[:64]!r}")


def _decode_short(queue_id: bytes) -> int:
    if not 6 <= len(queue_id) <= 20 or not _HEX.issuperset(queue_id):
        raise KeyError
    rest = int(queue_id[5:], 16)
    seconds = (rest >> SHARD_BITS) + _EPOCH
    return number(seconds * 1_000_000 + int(queue_id[:5], 16), shard_of(rest))


def _decode_long(queue_id: bytes) -> int:
    # the last z: it is no digit of what follows, and may be one of the time
    head, _, tail = queue_id.rpartition(b"z")
    if not 10 <= len(head) <= 14 or not 1 <= len(tail) <= 6:
        raise KeyError
    microseconds = _value(head[:-4], 52) * 1_000_000 + _value(head[-4:], 52)
    shard = _value(tail, 51) - _INODE
    if not 0 <= shard < 1 << SHARD_BITS:
        raise KeyError
    return number(microseconds, shard)


def _short(microseconds: int, rest: int) -> bytes:
    return f"{microseconds:05X}{rest:X}".encode()  # which Cython formats in C, and b"%05X%X" it does not


def _digits(value: int, base: int, width: int) -> bytes:
    found = bytearray()
    while value or len(found) < width:
        value, digit = divmod(value, base)
        found.append(_BASE52[digit])
    found.reverse()
    return bytes(found)


def _value(digits: bytes, base: int) -> int:
    value = 0
    for digit in digits:
        value = value * base + _VALUE[digit]
    return value
