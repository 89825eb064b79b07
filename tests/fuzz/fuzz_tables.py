"""The rest: what tables are made of, what their servers answer, the queue's index, and the lines of the log."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import struct
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from fuzz_stored import scratch

from fastrelay.log import _line as fast
from fastrelay.log.maillog import MailLog
from fastrelay.log.printable import printable
from fastrelay.log.settings import LogSettings
from fastrelay.queue._index import Index
from fastrelay.tables import memcache, redis
from fastrelay.tables._cdb import HEADER, CdbFile, CorruptFile, cdb_hash
from fastrelay.tables._literals import SHORTEST, LiteralIndex
from fastrelay.tables._sorter import Sorter
from fastrelay.tables._source import Scanner
from fastrelay.tables.socketmap import netstring_length
from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.stream import BadReply
from fastrelay.tables.table import TableError, choose_fold
from fastrelay.tables.tcp import TcpTable, line_length
from reference import lines_reference as slow
from reference import literals_reference, source_reference

PAIR = struct.Struct("<II")  # see tables/cdb.py


class Dribble:
    """A file that gives a few bytes at a time, whatever is asked for, and makes no buffer of a megabyte for that."""

    def __init__(self, text: bytes, step: int) -> None:
        self.text, self.step, self.at = text, step, 0

    def read(self, size: int) -> bytes:
        piece = self.text[self.at : self.at + min(self.step, size)]
        self.at += len(piece)
        return piece


def scanned(source: Dribble, fold: bool, utf8: bool) -> tuple[list[object], list[object]]:
    folded = choose_fold(fold, utf8)
    heard: list[object] = []
    with closing(Sorter("/tmp")) as sorter:

        def other(first: int, block: bytes) -> None:
            how = Entries("t", utf8, lambda said: None, first)
            for line, key, value in read_entries(io.BytesIO(block), how):
                stored = folded(key)
                if stored is not None and len(stored) <= 510:
                    sorter.add(stored, line, value)

        Scanner(sorter, b"", fold, other).read(source)  # type: ignore[arg-type]
        return list(sorter.unique(False, lambda line, key: heard.append((line, key)))), heard


def source(data: bytes) -> None:
    """A table's source in one read and byte by byte, against the twin."""
    bits, text = data[0] if data else 0, data[1:]
    fold, utf8 = bool(bits & 1), bool(bits & 2)
    wanted = source_reference.unique(source_reference.entries(text, fold, utf8), False)
    for step in (1 << 20, 1, 7):
        assert scanned(Dribble(text, step), fold, utf8) == wanted


def literals(data: bytes) -> None:
    """Texts between NULs, and the last of them is the key."""
    *texts, key = data.split(b"\0")
    pairs = [(text.lower(), place) for place, text in enumerate(texts) if len(text) >= SHORTEST]
    assert sorted(LiteralIndex(pairs).find(key)) == literals_reference.find(pairs, key)


def index(data: bytes) -> None:
    """Set, get and remove, three bytes each, against a dict."""
    ours: Index[int] = Index()
    theirs: dict[int, int] = {}
    for at in range(0, len(data) - 2, 3):
        what, key = data[at] % 4, (data[at + 1] << 52) | data[at + 2]
        if what == 0:
            assert ours.pop(key, -1) == theirs.pop(key, -1)
        elif what == 1:
            assert ours.get(key) == theirs.get(key) and (key in ours) == (key in theirs)
        else:
            ours[key] = theirs[key] = at
        assert len(ours) == len(theirs)
    assert sorted(ours) == sorted(theirs) and sorted(ours.values()) == sorted(theirs.values())
    assert sorted(ours.items()) == sorted(theirs.items())


FRAMINGS: tuple[Callable[[bytearray], int], ...] = (
    line_length,
    netstring_length,
    partial(redis.reply_length, data_limit=100),
    partial(memcache.reply_length, data_limit=100, line_limit=60),
)


def first_reply(framing: Callable[[bytearray], int], pieces: list[bytes]) -> int:
    """Its length; 0: it is not whole; -1: this is no reply."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        try:
            length = framing(buffer)
        except BadReply:
            return -1
        assert 0 <= length <= len(buffer)
        if length:
            return length
    return 0


def framings(data: bytes) -> None:
    """The replies of servers that tables ask: in one read and byte by byte."""
    framing, text = FRAMINGS[data[0] % len(FRAMINGS) if data else 0], data[1:]
    single = [text[i : i + 1] for i in range(len(text))]
    length = first_reply(framing, [text])
    assert first_reply(framing, single) == length
    if length > 0:
        with contextlib.suppress(TableError, BadReply):
            TcpTable._read(SimpleNamespace(label="tcp:fuzz"), text[: length - 1])  # type: ignore[arg-type]


@functools.cache
def cdb_base() -> bytes:
    """Ten records, made by hand: see tables/cdb.py."""
    records, tables = b"", {number: [] for number in range(256)}  # type: dict[int, list[tuple[int, int]]]
    for i in range(10):
        key, value = b"key%d" % i, b"value" * i
        tables[cdb_hash(key) & 255].append((cdb_hash(key), HEADER + len(records)))
        records += PAIR.pack(len(key), len(value)) + key + value
    header = slots = b""
    for number in range(256):
        count = 2 * len(tables[number])
        header += PAIR.pack(HEADER + len(records) + len(slots), count)
        row: list[tuple[int, int]] = [(0, 0)] * count
        for hashed, place in tables[number]:
            at = (hashed >> 8) % count
            while row[at][1]:
                at = (at + 1) % count
            row[at] = (hashed, place)
        slots += b"".join(PAIR.pack(*pair) for pair in row)
    return header + records + slots


def cdb(data: bytes) -> None:
    """A file with patches: place (3), length, bytes; the first byte, when it is odd, cuts it off."""
    stored = bytearray(cdb_base())
    if data and data[0] & 1:
        del stored[int.from_bytes(data[1:3], "little") % len(stored) :]
    data = data[3:]
    while len(data) >= 4 and stored:
        place, size = int.from_bytes(data[:3], "little") % len(stored), data[3] % 16
        stored[place : place + size] = data[4 : 4 + size][: len(stored) - place]
        data = data[4 + size :]
    path = Path(scratch().name) / "table.cdb"
    path.write_bytes(stored)
    try:
        file = CdbFile(os.fsencode(path))
    except CorruptFile:
        return
    for i in range(11):
        with contextlib.suppress(CorruptFile, OSError):
            value = file.get(b"key%d" % i)
            assert value is None or len(value) <= len(stored)
    with contextlib.suppress(CorruptFile, OSError):
        assert sum(1 for _ in file.entries()) <= len(stored)


@functools.cache
def log() -> MailLog:
    path = Path(scratch().name) / "maillog"
    path.touch()
    return MailLog(
        LogSettings(str(path), (str(path.parent),), "postfix", "mail", "relay.example"), lambda: 1e9
    )


def log_lines(data: bytes) -> None:
    """Five texts between NULs: what the makers write, and that it is one printable line."""
    a, b, c, d, e = [*data.split(b"\0"), b"", b"", b"", b"", b""][:5]
    delays = (len(a) / 7, len(b) / 100, 0.004, -1.0)
    pairs = [
        (fast.connect(a, b), slow.connect(a, b)),
        (fast.disconnect(a, b, c), slow.disconnect(a, b, c)),
        (fast.client(a, b, c), slow.client(a, b, c)),
        (fast.message_id(a, b), slow.message_id(a, b)),
        (fast.queue_active(a, b, 1 << 40, 7), slow.queue_active(a, b, 1 << 40, 7)),
        (fast.delivery(a, b, c, d, 2, delays, b"2.0.0", b"sent", e),
         slow.delivery(a, b, c, d, 2, delays, b"2.0.0", b"sent", e)),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert ours == theirs
        log().line(b"smtpd", ours)
        line = log().take()
        assert line.endswith(b"\n") and not re.search(rb"[\x00-\x1f\x7f]", line[:-1])
        line.decode()
        assert line[:-1].partition(b"]: ")[2] == printable(ours)


def seeds() -> dict[str, list[bytes]]:
    return {
        "source": [b"\3key value\n# c\n\nKEY other\n more\n", b"\0a\\b c\r\n\"q r\" v\n", b"\2\xc3\xa9 " + b"k" * 600],
        "literals": [b"abc\0b.c\0example.com\0user@example.com", b"aaa\0aa\0aaaaaa"],
        "framings": [
            *(b"\x00200 a%20b\n", b"\x013:OK,", b"\2$3\r\nabc\r\n", b"\2$-1\r\n"),
            *(b"\3VALUE k 0 1\r\nx\r\nEND\r\n", b"\3" + b"x" * 60 + b"\r\n"),
        ],
        "cdb": [b"\0\0\0", b"\1\0\x09", b"\0\0\0\x10\0\0\4abcd", b"\0\0\0\0\x08\0\x08\xff\xff\xff\x7f\1\0\0\0"],
        "log_lines": [b"c.test\x001.2.3.4\0QUIT\0x\0ok",
                      b"4ABC\0a\n\xc3\xa9@x\0A@x\0mx[::1]:25\0said: \xff\x7f" + b"y" * 30],
        "index": [bytes(range(90)), b"\2\1\1\2\1\2\0\1\1\1\1\2" * 3],
    }  # fmt: skip


TARGETS = {
    "source": source,
    "literals": literals,
    "framings": framings,
    "cdb": cdb,
    "log_lines": log_lines,
    "index": index,
}
