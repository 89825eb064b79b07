"""Lookup keys out of a message: postmap -q - with -h (headers), -b (body) and -m (MIME), for checks that are tried.

Which line is what follows Postfix's mime_state(3): headers of the message, of its parts and of messages in it
(RFC 2045, 2046), and all else line by line as body; the message's own headers, when no empty line ends them, get one.
The relay does the same to mail on its way; this is the plain form for one message on standard input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fastrelay.cleanup.content_type import Kind, read_content_type
from fastrelay.config import Config

HEADER = re.compile(rb"[^\x00-\x20\x7f-\xff:]+[ \t]*:")


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
        self._nesting_limit = nesting_limit  # Postfix counts neither the first part nor the one too deep
        self._boundary_limit = boundary_limit
        self._parts: list[tuple[bytes, Kind]] = []  # boundaries that are open, and their parts' default kind
        self._in_header = True
        self._primary = True  # these are the message's own headers
        self._kind = Kind.LEAF

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
        """What a Content-Type header says of what follows; how that is encoded changes nothing here."""
        name, _, value = header.partition(b":")
        if not self._mime or name.strip().lower() != b"content-type":
            return
        self._kind, is_digest, boundaries = read_content_type(value)
        default = Kind.MESSAGE if is_digest else Kind.LEAF
        room = max(0, self._nesting_limit + 2 - len(self._parts))
        self._parts += [(text[: self._boundary_limit], default) for text in boundaries[:room]]

    def _end_header(self, proper: bool) -> None:
        """A message in the message begins with headers of its own."""
        nested = self._kind in (Kind.MESSAGE, Kind.GLOBAL)
        self._in_header = self._mime and proper and nested
        self._primary = False
        self._kind = Kind.LEAF

    def _look_for_boundary(self, line: bytes) -> None:
        if not line.startswith(b"--"):
            return
        for depth in range(len(self._parts) - 1, -1, -1):
            boundary, default = self._parts[depth]
            if line.startswith(boundary, 2):
                closes = line.startswith(b"--", 2 + len(boundary))
                del self._parts[depth + (not closes) :]
                self._in_header, self._kind = not closes, default
                return
