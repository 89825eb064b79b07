"""What MimeScanner must find: lines in a list and one state, the obvious way."""

from __future__ import annotations

from fastrelay.cleanup._mime import Found
from fastrelay.cleanup.content_type import Encoding, Kind, read_content_type, read_encoding

ABOUT_MIME = {b"content-type", b"content-id", b"content-description", b"content-disposition"}
ABOUT_MIME |= {b"content-transfer-encoding", b"mime-version"}


def name_of(line: bytes) -> bytes:
    """The header's name, b"" when the line begins none."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return name if colon and all(33 <= c <= 126 for c in name) else b""


class Scan:
    def __init__(self, **settings: int) -> None:
        self.s = {
            "nesting_limit": 100,
            "boundary_limit": 2048,
            "line_limit": 2048,
            "body_limit": 51200,
        } | settings
        self.found: list[tuple[int, int, int]] = []
        self.stack: list[tuple[bytes, bool]] = []
        self.kind, self.encoding, self.offset = Kind.LEAF, Encoding.SEVEN_BIT, 0
        self.header: tuple[int, int] | None = None
        self.state = "body"
        self.high_seen = False

    def run(self, headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[int, int, int]]:
        self.body = body
        for name, value in headers:
            if not self.s.get("disabled"):
                self.read_header(name, value, 0, 0)
        self.end_header(True)
        self.offset = 1
        at = 0
        for line in body.split(b"\r\n")[:-1]:
            self.line(at, at + len(line))
            at += len(line) + 2
        self.flush()
        if self.state != "body":
            self.end_header(False)
        return self.found

    def text(self, start: int, end: int) -> bytes:
        return self.body[start:end].removeprefix(b".")

    def line(self, start: int, end: int) -> None:
        text = self.text(start, end)
        if self.state != "body":
            if self.header is not None and text[:1] in (b" ", b"\t"):
                self.header = (self.header[0], end)
                return
            self.flush()
            if name_of(text):
                self.header = (start, end)
                return
            self.end_header(not text)
        self.body_line(start, end, text)

    def flush(self) -> None:
        if self.header is None:
            return
        start, end = self.header
        self.header = None
        text = self.text(start, end)
        name = name_of(text.partition(b"\r\n")[0]).lower()
        self.read_header(name, text.partition(b":")[2], start + (self.body[start : start + 1] == b"."), end)
        if self.s.get("want_headers"):
            mime = self.state == "part" or name in ABOUT_MIME
            self.found.append((Found.MIME_HEADER if mime else Found.NESTED_HEADER, start, end))

    def read_header(self, name: bytes, value: bytes, start: int, end: int) -> None:
        if name == b"content-transfer-encoding":
            found = read_encoding(value)
            self.encoding = self.encoding if found is None else found
        if name != b"content-type":
            return
        self.kind, digest, boundaries = read_content_type(value)
        for boundary in boundaries:
            if len(self.stack) <= self.s["nesting_limit"] + 1:
                self.stack.append((boundary[: self.s["boundary_limit"]], digest))
            elif self.s.get("report_nesting"):
                self.found.append((Found.TOO_DEEP, start, end))

    def end_header(self, empty: bool) -> None:
        encoded = self.encoding in (Encoding.BASE64, Encoding.QUOTED_PRINTABLE)
        wide = self.encoding in (Encoding.EIGHT_BIT, Encoding.BINARY)
        wrong = (
            encoded if self.kind in (Kind.MULTIPART, Kind.MESSAGE) else wide and self.kind is Kind.SEVEN_BIT
        )
        if self.s.get("report_domain") and wrong:
            self.found.append((Found.WRONG_DOMAIN, self.encoding, 0))
        self.state, self.offset = "body", 0
        if empty and self.kind in (Kind.MESSAGE, Kind.GLOBAL):
            self.begin("nested", Kind.LEAF)
        elif empty and self.kind is Kind.MULTIPART:
            self.begin("body", Kind.LEAF)

    def begin(self, state: str, kind: Kind) -> None:
        self.state, self.kind, self.encoding = state, kind, Encoding.SEVEN_BIT
        if state == "body":
            self.offset = 0

    def body_line(self, start: int, end: int, text: bytes) -> None:
        look = self.s.get("report_eight_bit") and not self.high_seen and self.encoding is Encoding.SEVEN_BIT
        if text.startswith(b"--") and len(text) > 2:
            self.boundary(text[2:])
        if not (self.s.get("want_lines") or look):
            return
        at = end - len(text)
        limit = self.s["line_limit"]
        for n in range(0, max(len(text), 1), limit):
            piece = text[n : n + limit]
            if look and not self.high_seen and not piece.isascii():
                self.found.append((Found.EIGHT_BIT_BODY, at + n, at + n + len(piece)))
                self.high_seen = True
            if (
                self.s.get("want_lines")
                and piece
                and (not self.s["body_limit"] or self.offset < self.s["body_limit"])
            ):
                self.found.append((Found.LINE, start if n == 0 else at + n, at + n + len(piece)))
            self.offset += len(piece) + 1

    def boundary(self, rest: bytes) -> None:
        for i in range(len(self.stack) - 1, -1, -1):
            boundary, digest = self.stack[i]
            if rest.startswith(boundary):
                if rest[len(boundary) :].startswith(b"--"):
                    self.stack = self.stack[:i]
                    self.begin("body", Kind.LEAF)
                else:
                    self.stack = self.stack[: i + 1]
                    self.begin("part", Kind.MESSAGE if digest else Kind.LEAF)
                return
