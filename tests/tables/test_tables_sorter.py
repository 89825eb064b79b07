"""The sorter and the reader of plain lines agree with their slow twin, for any text, budget and chunk."""

import io
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.tables._sorter import Sorter, live_objects
from fastrelay.tables._source import Scanner
from fastrelay.tables.source import Entries, read_entries
from fastrelay.tables.table import choose_fold
from reference import source_reference

KEYS = st.one_of(st.binary(max_size=12), st.sampled_from([b"", b"a", b"a\0", b"aaaaaaaa", b"aaaaaaaab"]))
ENTRIES = st.lists(
    st.tuples(KEYS, st.integers(0, 1 << 40), st.binary(max_size=40)), max_size=60, unique_by=lambda e: e[:2]
)


def drain(sorter: Sorter, replace: bool) -> tuple[list[tuple[bytes, bytes]], list[tuple[int, bytes]]]:
    heard: list[tuple[int, bytes]] = []
    found = list(sorter.unique(replace, None if replace else lambda line, key: heard.append((line, key))))
    return found, heard


@settings(max_examples=150, deadline=None)
@given(ENTRIES, st.booleans(), st.sampled_from([1, 100, 700, 1 << 20]))
def test_sorts_as_its_twin(added: list[tuple[bytes, int, bytes]], replace: bool, budget: int) -> None:
    """A budget of one byte makes a run of each entry."""
    with closing(Sorter("/tmp", budget)) as sorter:
        for key, line, value in added:
            sorter.add(key, line, value)
        assert sorter.added == len(added)
        assert drain(sorter, replace) == source_reference.unique(added, replace)


def test_large_entries_go_through_runs(tmp_path: Path) -> None:
    values = {b"k%d" % i: b"v" * (i * 100_000) for i in range(9)}
    with closing(Sorter(str(tmp_path), 1 << 19)) as sorter:
        for key, value in reversed(values.items()):
            sorter.add(key, 1, value)
        assert drain(sorter, False) == (sorted(values.items()), [])
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with closing(Sorter(str(tmp_path / "nowhere"), 100)) as sorter, pytest.raises(FileNotFoundError):
        for i in range(100):
            sorter.add(b"%d" % i, i, b"value")


SIGNS = [bytes([c]) for c in b'\n\n \t\r#"\\:\0aB\xff']
WORDS = [b"key", b"Value", b"\xc3\xa9", b"key value\n", b"KEY other\n", b"x" * 511, b"y" * 510]
PIECES = st.sampled_from(SIGNS + WORDS)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map(b"".join), st.booleans(), st.booleans(), st.integers(1, 40))
def test_reads_as_its_twin(text: bytes, fold: bool, utf8: bool, step: int) -> None:
    found = scan(Dribble(text, step), fold, utf8)
    assert found == source_reference.unique(source_reference.entries(text, fold, utf8), False)


def scan(
    source: io.RawIOBase, fold: bool = True, utf8: bool = True
) -> tuple[list[tuple[bytes, bytes]], list[tuple[int, bytes]]]:
    folded = choose_fold(fold, utf8)
    with closing(Sorter("/tmp")) as sorter:

        def other(first: int, block: bytes) -> None:
            how = Entries("t", utf8, lambda said: None, first)
            for line, key, value in read_entries(io.BytesIO(block), how):
                stored = folded(key)
                if stored is not None and len(stored) <= 510:
                    sorter.add(stored, line, value)

        Scanner(sorter, b"", fold, other).read(source)  # type: ignore[arg-type]
        return drain(sorter, False)


class Dribble(io.RawIOBase):
    """Gives a few bytes at a time, whatever is asked for."""

    def __init__(self, text: bytes, step: int) -> None:
        self.rest, self.step = text, step

    def read(self, size: int = -1) -> bytes:
        taken, self.rest = self.rest[: self.step], self.rest[self.step :]
        return taken


def test_plain_lines_never_reach_python() -> None:
    blocks: list[tuple[int, bytes]] = []
    with closing(Sorter("/tmp")) as sorter:
        text = b'# top\nA 1\nb 2 "\n"c" 3\nd\n 4\nlonely\ne: 5\nf 6'
        Scanner(sorter, b"\0", True, lambda line, block: blocks.append((line, block))).read(io.BytesIO(text))
        assert blocks == [(1, b"# top\n"), (4, b'"c" 3\n'), (5, b"d\n 4\n"), (7, b"lonely\n"), (8, b"e: 5\n")]
        assert drain(sorter, False)[0] == [(b"a\0", b"1\0"), (b"b\0", b'2 "\0'), (b"f\0", b"6\0")]


def test_nothing_is_left_behind() -> None:
    before = live_objects()
    test_sorts_as_its_twin()
    assert live_objects() == before
