"""Making foreign text safe for a notice: what a peer said breaks neither a line nor a field."""

from __future__ import annotations

import re

LINE_SIZE = 79  # Postfix's bounce_notify_util
INDENT = 4
LONGEST_WORD = 900  # RFC 5321 4.5.3.1.6 allows 998 a line
LONGEST_FIELD = 850
LONGEST_REASON = 8192
ASCII = bytes(c if 32 <= c < 127 else 63 for c in range(256))
CONTROLS = bytes(63 if c < 32 or c == 127 else c for c in range(256))
XTEXT = re.compile(rb"\+([0-9A-F]{2})")


def printable(value: bytes, utf8: bool = False, limit: int = LONGEST_FIELD) -> bytes:
    """Printable ASCII, or UTF-8 where the notice is an internationalised one; the rest shows as `?`."""
    value = value[:limit]
    if utf8 and not value.isascii():
        shown = value.translate(CONTROLS).decode("utf-8", "replace").replace("�", "?")
        return "".join(c if c.isprintable() else "?" for c in shown).encode()
    return value.translate(ASCII)


def reason(value: bytes, utf8: bool) -> bytes:
    """What a server said: long, to be wrapped."""
    return printable(value, utf8, LONGEST_REASON)


def from_xtext(value: bytes) -> bytes:
    """RFC 3461 4: `+XX` stands for a byte."""
    return XTEXT.sub(lambda match: bytes([int(match[1], 16)]), value)


def wrap(line: bytes) -> bytes:
    """Break at blanks before LINE_SIZE bytes; what follows is indented, so that a header field stays one."""
    lines: list[bytes] = []
    start, room, size = 0, LINE_SIZE, len(line)
    while size - start > room:
        end = line.rfind(b" ", start + 1, start + room + 1)
        if end < 0:
            end = line.find(b" ", start + room, start + LONGEST_WORD + 1)
        if end < 0:
            if size - start <= LONGEST_WORD:
                break
            end = start + LONGEST_WORD
        lines.append(line[start:end])
        start = end
        while start < size and line[start] == 32:  # a line of blanks would end the fields of a recipient
            start += 1
        room = LINE_SIZE - INDENT
    if start < size:
        lines.append(line[start:])
    return (b"\r\n" + b" " * INDENT).join(lines)


def stuff(text: bytes) -> bytes:
    """Wire form of our own text (RFC 5321 4.5.2)."""
    return (b"." + text if text[:1] == b"." else text).replace(b"\n.", b"\n..")
