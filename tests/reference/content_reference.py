"""What ContentScanner must make of the bytes after DATA: line by line, the slow and obvious way."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Contents:
    """The lines of a message without their ends, and what was seen on the way."""

    lines: list[bytes] = field(default_factory=list)
    used: int = 0
    bare_lf: bool = False
    stray_cr: bool = False

    @property
    def size(self) -> int:
        return sum(len(line) + 2 for line in self.lines)


def clean_line(contents: Contents, line: bytes) -> bytes:
    contents.stray_cr = contents.stray_cr or b"\r" in line
    return line.replace(b"\r", b" ").replace(b"\0", b" ")


def read_data(wire: bytes) -> Contents | None:
    """The contents up to CRLF.CRLF, or None when there is no end."""
    contents = Contents()
    after_bare = False
    while True:
        end = wire.find(b"\n", contents.used)
        if end < 0:
            return None
        line = wire[contents.used : end]
        contents.used = end + 1
        bare = not line.endswith(b"\r")
        contents.bare_lf = contents.bare_lf or bare
        line = line if bare else line[:-1]
        if line == b"." and not bare and not after_bare:
            return contents
        if line != b".":
            contents.lines.append(clean_line(contents, line.removeprefix(b".")))
        after_bare = bare


def read_chunks(octets: bytes) -> Contents:
    """The contents of BDAT: no dots are stuffed, the last line end may be missing."""
    contents = Contents(used=len(octets))
    lines = octets.split(b"\n")
    last = lines.pop()
    for line in lines:
        contents.bare_lf = contents.bare_lf or not line.endswith(b"\r")
        contents.lines.append(clean_line(contents, line.removesuffix(b"\r")))
    if last:
        contents.lines.append(clean_line(contents, last.removesuffix(b"\r")))
    return contents


def wire_form(lines: list[bytes]) -> bytes:
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)


def header_name(line: bytes) -> bytes:
    """The name if the line starts a header, else b""."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return name if colon and name and all(33 <= c <= 126 for c in name) else b""


def is_mailbox_line(line: bytes) -> bool:
    return line.lstrip(b">").startswith(b"From ")


def split_header(lines: list[bytes]) -> tuple[list[bytes], list[bytes], bool]:
    """Header lines, body lines, and whether an empty line stands between them."""
    count = 0
    while count < len(lines) and is_mailbox_line(lines[count]):
        count += 1
    leading = count
    while count < len(lines):
        line = lines[count]
        if (line.startswith((b" ", b"\t")) and count > leading) or header_name(line):
            count += 1
        else:
            break
    if count == len(lines):
        return lines, [], False
    return lines[:count], lines[count + (lines[count] == b"") :], True


def logical_headers(lines: list[bytes]) -> list[list[bytes]]:
    headers: list[list[bytes]] = []
    for line in lines:
        if line.startswith((b" ", b"\t")) and headers:
            headers[-1].append(line)
        else:
            headers.append([line])
    return headers
