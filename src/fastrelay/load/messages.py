"""What a source sends: made-up messages of a size, or files; dot-stuffed and with the final dot.

Every made-up message has its number's uuid in X-Fastrelay-Source, by which a ledger finds it again; files
are sent as they are (line ends made CRLF), and get that header on top only when there is a ledger.
"""

from __future__ import annotations

import os
import random
import re
import uuid
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path

HEADER = b"X-Fastrelay-Source: "
LINE = b"The quick brown fox jumps over the lazy dog, and the mail is relayed.\r\n"
SMALL = 65536  # files up to here are kept in memory, a thousand of them
LINE_END = re.compile(rb"\r?\n")
END = b".\r\n"


class Uuids:
    """One uuid for each number, with a beginning of its own for this run."""

    def __init__(self) -> None:
        self.start = str(uuid.uuid4())[:24].encode()

    def __getitem__(self, number: int) -> bytes:
        return b"%b%012x" % (self.start, number)


class MadeUp:
    """Content of `low` to `high` bytes; a little more where the headers alone need it."""

    def __init__(self, low: int, high: int, host: str) -> None:
        self.low, self.high = low, high
        self.filler = LINE * (high // len(LINE) + 1)
        self.host, self.date = host.encode(), formatdate(localtime=True).encode()

    def content(self, number: int, mark: bytes, sender: bytes, recipient: bytes) -> bytes:
        headers = (
            b"From: <%b>\r\nTo: <%b>\r\nSubject: message %d of fastrelay source\r\nDate: %b\r\n"
            b"Message-Id: <%b@%b>\r\n%b%b\r\n\r\n"
        ) % (sender, recipient, number, self.date, mark, self.host, HEADER, mark)
        size = self.low if self.low == self.high else random.randint(self.low, self.high)  # noqa: S311
        room = size - len(headers) - 2
        return b"%b%b\r\n.\r\n" % (headers, self.filler[:room]) if room > 0 else headers + END


class Files:
    def __init__(self, paths: Sequence[Path], marked: bool) -> None:
        self.paths, self.marked = paths, marked

    def content(self, number: int, mark: bytes, sender: bytes, recipient: bytes) -> bytes:
        path = self.paths[(number - 1) % len(self.paths)]
        content = _small(path) if os.path.getsize(path) <= SMALL else ready(path.read_bytes())
        return b"%b%b\r\n%b" % (HEADER, mark, content) if self.marked else content


@lru_cache(maxsize=1024)
def _small(path: Path) -> bytes:
    return ready(path.read_bytes())


def ready(data: bytes) -> bytes:
    """Line ends CRLF, leading dots doubled (RFC 5321 4.5.2), the dot at the end."""
    data = LINE_END.sub(b"\r\n", data)
    if data and not data.endswith(b"\r\n"):
        data += b"\r\n"
    data = data.replace(b"\r\n.", b"\r\n..")
    return (b"." if data.startswith(b".") else b"") + data + END


def find_files(names: Sequence[str]) -> list[Path]:
    """Files as named, messages of Maildirs, all visible files below other directories; in order of name."""
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if (path / "new").is_dir() and (path / "cur").is_dir():
            found += sorted(entry for part in ("new", "cur") for entry in (path / part).iterdir())
        elif path.is_dir():
            inside = (entry for entry in path.rglob("*") if entry.is_file())
            found += sorted(entry for entry in inside if not entry.name.startswith("."))
        else:
            path.open("rb").close()  # says at once what is wrong with it
            found.append(path)
    return found
