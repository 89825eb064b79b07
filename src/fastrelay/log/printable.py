"""What may stand in a log line: printable ASCII and well-formed UTF-8; anything else shows as `?`."""

from __future__ import annotations

LONGEST_TEXT = 8192
TABLE = bytes(c if 32 <= c < 127 or c > 127 else 63 for c in range(256))


def printable(text: bytes) -> bytes:
    """One line that cannot be taken for another: no control, no broken UTF-8, no Unicode line end."""
    text = text[:LONGEST_TEXT].translate(TABLE)
    if text.isascii():
        return text
    shown = (c if c.isprintable() and c != "�" else "?" for c in text.decode("utf-8", "replace"))
    return "".join(shown).encode("utf-8")
