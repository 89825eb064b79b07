"""delivery/_replies.pyx in obvious Python: the whole stream at once, however it was cut into reads."""

from __future__ import annotations

import re

NO_REPLY, UNASKED = 1, 2
LINE = re.compile(rb"[2-5]\d\d(?:[ -].*)?", re.S)
LIMIT, LINES = 2048, 100


def replies(stream: bytes, owed: int) -> list[tuple[int, bytes]]:
    """What whole lines give; the last may be what ends the connection."""
    found: list[tuple[int, bytes]] = []
    kept: list[bytes] = []
    number = 0
    *lines, rest = stream.split(b"\n")
    for line in lines:
        if len(line) > LIMIT:
            return [*found, (NO_REPLY, b"reply line too long")]
        if len(found) == owed:
            return [*found, (UNASKED, b"")]
        line = line.rstrip(b"\r ")
        if not LINE.fullmatch(line):
            return [*found, (NO_REPLY, line)]
        if line[3:4] == b"-" and number > 0 and number >= LINES:
            return [*found, (NO_REPLY, b"too many reply lines")]
        number += 1
        if sum(map(len, kept)) < LIMIT:
            kept.append(line)
        if line[3:4] != b"-":
            found.append((int(line[:3]), b" ".join(kept)))
            kept, number = [], 0
    if len(rest) > LIMIT:
        return [*found, (NO_REPLY, b"reply line too long")]
    return [*found, (UNASKED, b"")] if rest and len(found) == owed else found
