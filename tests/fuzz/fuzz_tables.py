"""What tables are made of and asked: the source that postmap reads, the texts of rules, the index of the queue."""

from __future__ import annotations

import io
from contextlib import closing

from fastrelay.queue._index import Index
from fastrelay.tables._literals import SHORTEST, LiteralIndex
from fastrelay.tables._sorter import Sorter
from fastrelay.tables._source import Scanner
from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import choose_fold
from reference import literals_reference, source_reference


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, whatever is asked for."""

    def __init__(self, text: bytes, step: int) -> None:
        self.text, self.step, self.at = text, step, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(self.step, len(buffer), len(self.text) - self.at)
        buffer[:size] = self.text[self.at : self.at + size]
        self.at += size
        return size


def scanned(source: io.RawIOBase, fold: bool, utf8: bool) -> tuple[list[object], list[object]]:
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


def seeds() -> dict[str, list[bytes]]:
    return {
        "source": [b"\3key value\n# c\n\nKEY other\n more\n", b"\0a\\b c\r\n\"q r\" v\n", b"\2\xc3\xa9 " + b"k" * 600],
        "literals": [b"abc\0b.c\0example.com\0user@example.com", b"aaa\0aa\0aaaaaa"],
        "index": [bytes(range(90)), b"\2\1\1\2\1\2\0\1\1\1\1\2" * 3],
    }  # fmt: skip


TARGETS = {"source": source, "literals": literals, "index": index}
