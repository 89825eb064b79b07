"""What Content-Type and Content-Transfer-Encoding say, read as Postfix's MIME processor reads them (RFC 2045 5.1).

_mime.pyx calls it for such headers alone. It is deliberately generous: comments are passed over, all boundary
parameters count, and their value may be quoted or not, so that less can be hidden from the checks.
"""

from __future__ import annotations

import enum

SPECIALS = b'()<>@,;:\\"/[]?='
BLANKS = b" \t\r\n"
TOKENS = 3  # of each parameter that are looked at
Token = tuple[bytes, bool]  # text, and is it a word (a special is not, quoted text is not)


class Kind(enum.IntEnum):
    """What the body that follows is to the scanner."""

    LEAF = 0
    MULTIPART = 1
    MESSAGE = 2  # message/rfc822: a header comes next
    GLOBAL = 3  # message/global: as well, and it may be encoded
    OPAQUE = 4  # another message/ type
    SEVEN_BIT = 5  # message/partial, message/external-body: they may not need 8 bits (RFC 2046 5.2.2, 5.2.3)


class Encoding(enum.IntEnum):
    SEVEN_BIT = 0
    EIGHT_BIT = 1
    BINARY = 2
    BASE64 = 3
    QUOTED_PRINTABLE = 4


ENCODINGS = {
    b"7bit": Encoding.SEVEN_BIT,
    b"8bit": Encoding.EIGHT_BIT,
    b"binary": Encoding.BINARY,
    b"base64": Encoding.BASE64,
    b"quoted-printable": Encoding.QUOTED_PRINTABLE,
}
ENCODING_NAMES = {code: name for name, code in ENCODINGS.items()}
MESSAGE_KINDS = {
    b"rfc822": Kind.MESSAGE,
    b"global": Kind.GLOBAL,
    b"partial": Kind.SEVEN_BIT,
    b"external-body": Kind.SEVEN_BIT,
}


def read_content_type(value: bytes) -> tuple[Kind, bool, list[bytes]]:
    """(kind, is it multipart/digest, boundaries) of a Content-Type header's value."""
    items = split(value)
    first = items[0] if items else []
    main, sub = word(first, 0), word(first, 2) if len(first) > 2 and first[1] == (b"/", False) else b""
    if main == b"message":
        return MESSAGE_KINDS.get(sub, Kind.OPAQUE), False, []
    if main != b"multipart":
        return Kind.LEAF, False, []
    boundaries = [
        item[2][0]
        for item in items[1:]
        if len(item) > 2 and word(item, 0) == b"boundary" and item[1] == (b"=", False)
    ]
    return Kind.MULTIPART, sub == b"digest", boundaries


def read_encoding(value: bytes) -> Encoding | None:
    """Of a Content-Transfer-Encoding header's value; None: unknown, which changes nothing."""
    items = split(value)
    return ENCODINGS.get(word(items[0], 0)) if items else None


def word(item: list[Token], index: int) -> bytes:
    return item[index][0].lower() if len(item) > index and item[index][1] else b""


def split(value: bytes) -> list[list[Token]]:
    """The tokens between semicolons, at most TOKENS of each."""
    items: list[list[Token]] = [[]]
    at = 0
    while at < len(value):
        c = value[at : at + 1]
        if c in BLANKS:
            at += 1
        elif c == b";":
            items.append([])
            at += 1
        elif c == b"(":
            at = skip_comment(value, at + 1)
        else:
            at, token = read_token(value, at)
            if len(items[-1]) < TOKENS:
                items[-1].append(token)
    return items


def skip_comment(value: bytes, at: int) -> int:
    level = 1
    while at < len(value) and level:
        c = value[at]
        level += (c == 0x28) - (c == 0x29)
        at += 2 if c == 0x5C else 1
    return at


def read_token(value: bytes, at: int) -> tuple[int, Token]:
    c = value[at]
    if c == 0x22:
        return read_quoted(value, at + 1)
    if c in SPECIALS or is_control(c):
        return at + 1, (value[at : at + 1], False)
    start = at
    while at < len(value) and value[at] not in SPECIALS + BLANKS and not is_control(value[at]):
        at += 1
    return at, (value[start:at], True)


def read_quoted(value: bytes, at: int) -> tuple[int, Token]:
    """Quoted text with its folding taken out."""
    text = bytearray()
    while at < len(value) and value[at] != 0x22:
        c = value[at]
        if c == 0x0A:
            while text and text[-1] in BLANKS:
                text.pop()
        elif c == 0x5C:
            at += 1
            text += value[at : at + 1]
        else:
            text.append(c)
        at += 1
    return at + 1, (bytes(text), False)


def is_control(c: int) -> bool:
    return c < 32 or c == 127
