"""All entries of a redis: table, by SCAN and MGET, or HSCAN of its hash, for sync-table; and RESP's arrays.

SCAN gives each key that is there all the time at least once; what comes or goes meanwhile may be in it or not.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

from fastrelay.tables.listing import PAGE, Entry, KeyPattern, rows_entries
from fastrelay.tables.query import Templates
from fastrelay.tables.stream import BadReply
from fastrelay.tables.table import TableError
from fastrelay.tables.text import printable

LARGEST_REPLY = 16_777_216  # to one page
DEEPEST = 3

Reply = bytes | list["Reply"] | None
Ask = Callable[[list[bytes]], Awaitable[bytes]]


async def pages(
    label: str, key_format: str, hash_name: bytes, templates: Templates, ask: Ask
) -> AsyncIterator[list[Entry]]:
    """Page after page of keys, and their values through the templates."""
    if not KeyPattern.is_in(key_format):
        raise TableError(label, "sequence operation needs a key_format with one %s", unavailable=False)
    pattern, cursor, more = KeyPattern(key_format), b"0", True
    scan = [b"HSCAN", hash_name] if hash_name else [b"SCAN"]
    match = _glob(pattern.before) + b"*" + _glob(pattern.after)
    while more:
        found = answer_of(label, await ask([*scan, cursor, b"MATCH", match, b"COUNT", b"%d" % PAGE]))
        if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], list):
            raise BadReply("unexpected redis server reply")
        cursor, names = _text(found[0]), [_text(name) for name in found[1]]
        if hash_name:
            rows = list(zip(names[::2], names[1::2], strict=True))
        elif names:
            values = answer_of(label, await ask([b"MGET", *names]))
            assert isinstance(values, list)
            rows = [
                (name, value) for name, value in zip(names, values, strict=True) if isinstance(value, bytes)
            ]
        else:
            rows = []
        yield rows_entries(templates, [(pattern.key_of(name) or b"", value) for name, value in rows])
        more = cursor != b"0"


def answer_of(label: str, reply: bytes) -> Reply:
    """What a whole reply says; TableError when that is an error."""
    if reply[:1] == b"-":
        raise TableError(label, f"server says: {printable(reply[1:-2])}", unavailable=False)
    return _parse(reply, 0, 0)[0]


def listing_length(buffer: bytearray) -> int:
    """A Framing: of any reply, arrays too."""
    return _parse(buffer, 0, 0)[1]


def _parse(buffer: bytes | bytearray, at: int, depth: int) -> tuple[Reply, int]:
    """The reply that begins at `at`, and where it ends: 0, more must come."""
    end = buffer.find(b"\r\n", at, at + 1024)
    if end < 0:
        if len(buffer) - at >= 1024:
            raise BadReply("malformed reply", buffer[at : at + 100])
        return None, 0
    kind, word = buffer[at : at + 1], bytes(buffer[at + 1 : end])
    if kind in (b"+", b"-", b":"):
        return word, end + 2
    if kind not in (b"$", b"*") or not re.fullmatch(rb"-1|\d{1,9}", word) or depth == DEEPEST:
        raise BadReply("malformed reply", buffer[at : at + 100])
    size = int(word)
    if size < 0:
        return None, end + 2
    if kind == b"$":
        whole = end + 2 + size + 2
        return bytes(buffer[end + 2 : whole - 2]), whole if len(buffer) >= whole else 0
    items: list[Reply] = []
    at = end + 2
    for _ in range(size):
        item, at = _parse(buffer, at, depth + 1)
        if at == 0:
            return None, 0
        items.append(item)
    return items, at


def _text(reply: Reply) -> bytes:
    if not isinstance(reply, bytes):
        raise BadReply("unexpected redis server reply")
    return reply


def _glob(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", text)
