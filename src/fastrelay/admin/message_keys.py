"""Lookup keys out of a message: postmap -q - with -h (headers), -b (body) and -m (MIME), for checks that are tried.

Which line is what follows Postfix's mime_state(3): headers of the message, of its parts and of messages in it
(RFC 2045, 2046), and all else line by line as body; the message's own headers, when no empty line ends them, get one.
The relay does the same to mail on its way; this is the plain form for one message on standard input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fastrelay.config import Config

HEADER = re.compile(rb"[^\x00-\x20\x7f-\xff:]+[ \t]*:")
SPECIALS = rb'()<>@,;:\\"/\[\]?='
TOKEN = re.compile(
    rb'"((?:[^"\\]|\\.)*)"?|([^\x00-\x20\x7f-\xff'
    + SPECIALS
    + rb"]+)|(["
    + SPECIALS
    + rb"])|[\x00-\x20\x7f-\xff]",
    re.S,
)
UNENCODED = (b"7bit", b"8bit", b"binary")
PLAIN, DIGEST_PART = (b"text", b"plain"), (b"message", b"rfc822")
Type = tuple[bytes, bytes]


def message_keys(
    source: Iterable[bytes], configuration: Config, headers: bool, body: bool, mime: bool
) -> Iterator[bytes]:
    """The keys of the message, in its order."""
    limits = (
        int(configuration.text("header_size_limit")),
        int(configuration.text("mime_nesting_limit")),
        int(configuration.text("mime_boundary_length_limit")),
    )
    lines = (line.removesuffix(b"\n").partition(b"\0")[0] for line in source)
    for is_header, key in Message(mime, *limits).pieces(lines):
        if headers if is_header else body:
            yield key


class Message:
    """One message, read line by line."""

    def __init__(self, mime: bool, header_limit: int, nesting_limit: int, boundary_limit: int) -> None:
        self._mime = mime
        self._header_limit = header_limit
        self._nesting_limit = (
            nesting_limit  # Postfix counts neither the first part nor the one that is too deep
        )
        self._boundary_limit = boundary_limit
        self._parts: list[tuple[bytes, Type]] = []  # boundaries that are open, and their parts' default type
        self._in_header = True
        self._primary = True  # these are the message's own headers
        self._type: Type = PLAIN
        self._encoded = False

    def pieces(self, lines: Iterable[bytes]) -> Iterator[tuple[bool, bytes]]:
        """(is it a header, text)"""
        header: bytes | None = None
        for line in lines:
            if self._in_header:
                if header is not None and line[:1] in (b" ", b"\t"):
                    if len(header) < self._header_limit:
                        header += b"\n" + line
                    continue
                if header is not None:
                    self._learn(header)
                    yield True, header
                    header = None
                if HEADER.match(line):
                    header = re.sub(rb"^([^:]*?)[ \t]+:", rb"\1:", line)
                    continue
                if not line or self._primary:
                    yield False, b""
                self._end_header(line == b"")
                if not line:
                    continue
            yield False, line
            self._look_for_boundary(line)
        if header is not None:
            yield True, header

    def _learn(self, header: bytes) -> None:
        """What a Content- header says of what follows."""
        name, _, text = header.partition(b":")
        name = name.strip().lower()
        if not self._mime or name not in (b"content-type", b"content-transfer-encoding"):
            return
        tokens = list(tokens_of(text))
        if name == b"content-transfer-encoding":
            self._encoded = bool(tokens) and tokens[0].lower() not in UNENCODED
        else:
            self._set_type(tokens)

    def _set_type(self, tokens: list[bytes]) -> None:
        words = [token.lower() for token in tokens]
        self._type = (words[0] if words else b"", words[2] if words[1:2] == [b"/"] and words[2:] else b"")
        if self._type[0] != b"multipart":
            return
        default = DIGEST_PART if self._type[1] == b"digest" else PLAIN
        for at in range(len(words) - 3):
            if words[at : at + 3] == [b";", b"boundary", b"="] and len(self._parts) < self._nesting_limit + 2:
                self._parts.append((tokens[at + 3][: self._boundary_limit], default))

    def _end_header(self, proper: bool) -> None:
        """A message in the message begins with headers of its own."""
        kind, subtype = self._type
        nested = kind == b"message" and subtype in (b"rfc822", b"global")
        self._in_header = self._mime and proper and nested and not self._encoded
        self._primary = False
        self._type, self._encoded = PLAIN, False

    def _look_for_boundary(self, line: bytes) -> None:
        if not line.startswith(b"--"):
            return
        for depth in range(len(self._parts) - 1, -1, -1):
            boundary, default = self._parts[depth]
            if line.startswith(boundary, 2):
                closes = line.startswith(b"--", 2 + len(boundary))
                del self._parts[depth + (not closes) :]
                self._in_header, self._type, self._encoded = not closes, default, False
                return


def tokens_of(text: bytes) -> Iterator[bytes]:
    """RFC 2045 tokens; comments are left out."""
    at, level = 0, 0
    while at < len(text):
        if level:
            level += (text[at] == 0x28) - (text[at] == 0x29)
            at += 2 if text[at] == 0x5C else 1
            continue
        match = TOKEN.match(text, at)
        assert match is not None, "every byte begins a token or is skipped"
        at = match.end()
        quoted, token, special = match.groups()
        if special == b"(":
            level = 1
        elif quoted is not None:
            yield re.sub(rb"\\(.)", rb"\1", quoted, flags=re.S)
        elif token or special:
            yield token or special
