"""Read the lines of an aliases(5) file: `name: value, value`, names and values quoted as in RFC 822.

postalias compiles them. The text is cut into Postfix's tokens (tok822(3)) and put together again: the name
without its quotes, the value in external form, so that what is stored is what Debian's postalias stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fastrelay.tables.source import Entries, is_no_utf8
from fastrelay.tables.text import WHITESPACE, logical_lines, printable

_OPERATORS = b'|"(),.:;<>@[\\]!%'
_ATOM, _QUOTED, _COMMENT, _LITERAL = "atom", "quoted", "comment", "literal"
_WORDS = {_ATOM, _QUOTED, _COMMENT, _LITERAL}

Token = tuple[str, bytes]  # one of the above, or the operator itself as text; and the content


def read_aliases(lines: Iterable[bytes], how: Entries) -> Iterator[tuple[int, bytes, bytes]]:
    """(line number, name, value) of each good line; the others are complained about and left out."""
    for number, text in logical_lines(lines, lambda said: how.complain(f"{how.name}: {said}")):
        line = text.partition(b"\0")[0]  # as C sees it
        where = f"{how.name}, line {number}:"
        if how.utf8 and is_no_utf8(text, line):
            how.complain(f'{where} non-UTF-8 input "{printable(line)}" -- ignoring this line')
            continue
        tokens = list(scan(line))
        if not tokens:
            continue
        kinds = [kind for kind, _ in tokens]
        colon = kinds.index(":") if ":" in kinds else 0
        if colon == 0 or colon == len(tokens) - 1 or "," in kinds[:colon]:
            how.complain(f"{where} need name:value pair")
        elif "@" in kinds[:colon] or "%" in kinds[:colon]:
            how.complain(f"{where} name must be local")
        else:
            yield number, internal(tokens[:colon]), external(tokens[colon + 1 :])


def scan(line: bytes) -> Iterator[Token]:
    """The tokens of a line."""
    at = 0
    while at < len(line):
        c = line[at : at + 1]
        if c in WHITESPACE:
            at += 1
        elif c == b"(":
            end = _comment_end(line, at)
            yield _COMMENT, line[at:end]
            at = end
        elif c in b'["':
            content, at = _collect(line, at + 1, b"]" if c == b"[" else b'"')
            yield (_LITERAL if c == b"[" else _QUOTED), content
            at += 1
        elif c != b"\\" and c in _OPERATORS:
            yield c.decode(), c
            at += 1
        else:
            content, at = _collect(line, at, _OPERATORS.replace(b"\\", b"") + WHITESPACE)
            special = any(b <= 32 or b == 127 or b in _OPERATORS for b in content)
            yield (_QUOTED if special else _ATOM), content


def internal(tokens: list[Token]) -> bytes:
    """The tokens as text without quotes."""
    return _join(tokens, {_LITERAL: lambda text: b"[" + text + b"]"})


def external(tokens: list[Token]) -> bytes:
    """The tokens as text, quoted where it has to be."""
    return _join(
        tokens,
        {
            _LITERAL: lambda text: b"[" + text.replace(b"\\", b"\\\\") + b"]",
            _QUOTED: lambda text: b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"',
        },
    )


def _join(tokens: list[Token], forms: dict[str, Callable[[bytes], bytes]]) -> bytes:
    parts: list[bytes] = []
    for position, (kind, content) in enumerate(tokens):
        parts.append(forms[kind](content) if kind in forms else content)
        following = tokens[position + 1][0] if position + 1 < len(tokens) else ""
        if kind == "," or following == "<" or (kind in _WORDS and following in _WORDS):
            parts.append(b" ")
    return b"".join(parts)


def _collect(line: bytes, at: int, stop: bytes) -> tuple[bytes, int]:
    """Content up to one of `stop`, backslashes taken away, and where it ends."""
    content = bytearray()
    while at < len(line):
        c = line[at]
        if c == 0x5C:
            at += 1
            if at == len(line):
                break
            c = line[at]
        elif c in stop:
            break
        content.append(32 if c in b" \t\r\n" else c)
        at += 1
    return bytes(content), at


def _comment_end(line: bytes, at: int) -> int:
    """Where the comment that starts at `at` is over; they nest."""
    level = 0
    while at < len(line):
        if line[at] == 0x5C:
            at += 1
        else:
            level += (line[at] == 0x28) - (line[at] == 0x29)
        at += 1
        if level == 0:
            break
    return min(at, len(line))
