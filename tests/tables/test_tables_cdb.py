"""cdb: files exchanged with Debian's postfix-cdb in both directions, and files that are replaced, cut or damaged."""

import os
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_tools import Tools, needs_postmap

from fastrelay.tables import TableError, open_table
from fastrelay.tables._cdb import CdbFile, cdb_hash, live_objects
from fastrelay.tables._sorter import Sorter
from fastrelay.tables.build import Form, Ownership
from fastrelay.tables.cdb_build import build_cdb
from reference.cdb_reference import cdb_hash as hash_of
from reference.cdb_reference import lookup

SOURCE = b"".join(b"Key%d value of %d\n" % (i * 7919 % 2000, i) for i in range(2000)) + (
    b'"quoted key" x y\ndup 1\nDUP 2\n\xc3\x89@ex\xc3\xa4mple.org utf\nbig ' + b"v" * 70000 + b"\n"
)
KEYS = (
    b'key0\nKEY1999\nkey2000\nquoted key\n"quoted key"\ndup\nbig\n\xc3\xa9@EX\xc3\x84MPLE.org\n\xff\n\n'
    + b"k" * 600
)


def make(path: Path, entries: dict[bytes, bytes]) -> None:
    sorter = Sorter(str(path.parent))
    for line, (key, value) in enumerate(entries.items()):
        sorter.add(key, line, value)
    assert build_cdb(f"{path}.cdb", sorter, Form(), Ownership(0o644, None), lambda line, key: None)
    sorter.close()


@needs_postmap
@pytest.mark.parametrize("flags", [(), ("-N",), ("-n",), ("-r",)])
@pytest.mark.parametrize("maker", ["postfix", "ours"])
def test_made_by_either_read_by_both(tools: Tools, maker: str, flags: tuple[str, ...]) -> None:
    tools.write("t", SOURCE)
    made = getattr(tools, maker)(*flags, "cdb:t")
    assert made.status == 0
    assert made.err.count("duplicate entry") == (flags != ("-r",))
    real, mine = (which("-q", "-", "cdb:t", stdin=KEYS) for which in (tools.postfix, tools.ours))
    assert (mine.status, mine.out) == (real.status, real.out)
    assert mine.out.count(b"\n") == 6
    for key in ("key1", "none", ""):
        real, mine = (which("-q", key, "cdb:t") for which in (tools.postfix, tools.ours))
        assert (mine.status, mine.out) == (real.status, real.out)
    records = dict(CdbFile(bytes(tools.directory / "t.cdb")).entries())
    end = b"\0" if flags == ("-N",) else b""
    assert records[b"dup" + end] == (b"2" if flags == ("-r",) else b"1") + end


@needs_postmap
@pytest.mark.parametrize(
    "args", [["-i", "cdb:t"], ["-d", "k", "cdb:t"], ["-s", "cdb:t"], ["-q", "k", "cdb:none"]]
)
def test_what_cannot_be_done_fails_as_there(tools: Tools, args: list[str]) -> None:
    make(tools.directory / "t", {b"k": b"v"})
    real, mine = tools.postfix(*args), tools.ours(*args)
    assert (real.status, mine.status, mine.out) == (1, 1, b"")
    assert mine.err.startswith("postmap: fatal: ")


def test_replaced_removed_and_restored(tmp_path: Path) -> None:
    table = open_table(f"cdb:{tmp_path}/t")
    assert table.problem == f"open database {tmp_path}/t.cdb: No such file or directory"
    with pytest.raises(TableError, match="No such file"):
        table.get(b"k")
    for value in (b"one", b"two"):
        before = table.version()
        make(tmp_path / "t", {b"k": value})
        assert table.get(b"K") == value
        assert table.version() != before
    (tmp_path / "t.cdb").unlink()
    with pytest.raises(TableError):
        table.get(b"k")
    (tmp_path / "t.cdb").mkdir()
    with pytest.raises(TableError, match="Is a directory"):
        table.get(b"k")


def test_an_empty_table_and_every_key_of_a_large_one(tmp_path: Path) -> None:
    make(tmp_path / "t", {})
    assert open_table(f"cdb:{tmp_path}/t").get(b"k") is None
    entries = {b"k%d" % i: b"%d" % i * (i % 50) for i in range(1, 5000)}
    make(tmp_path / "t", entries)
    table = open_table(f"cdb:{tmp_path}/t")
    assert {key: table.get(key) for key in entries} == entries
    assert [key for key in (b"k0", b"k5000", b"", b"k\0", b"k1\0") if table.get(key) is not None] == []


def test_cut_in_place_is_an_error(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"k%d" % i: b"v" * 40 for i in range(300)})
    path = tmp_path / "t.cdb"
    size = path.stat().st_size
    table = open_table(f"cdb:{tmp_path}/t")
    for length in (size - 1, size // 2, 2100, 2048, 2047, 7, 0):
        os.truncate(path, length)
        errors = 0
        for i in range(300):
            try:
                assert table.get(b"k%d" % i) == b"v" * 40
            except TableError as error:
                assert "truncated or not a cdb file" in str(error)
                errors += 1
        assert errors > 0, length


def test_flipped_bytes_never_crash_or_loop(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"k%d" % i: b"v" * i for i in range(60)})
    good = (tmp_path / "t.cdb").read_bytes()
    rng = random.Random(5)
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 40)):
            bad[rng.randrange(len(bad))] = rng.choice((0, 1, 255, rng.randrange(256)))
        (tmp_path / "t.cdb").write_bytes(bad)
        table = open_table(f"cdb:{tmp_path}/t")
        for i in range(60):
            try:
                expected = lookup(tmp_path / "t.cdb", b"k%d" % i)
            except (ValueError, struct.error):
                with pytest.raises(TableError):
                    table.get(b"k%d" % i)
                continue
            try:
                assert table.get(b"k%d" % i) in (expected, (expected or b"").partition(b"\0")[0])
            except TableError as error:  # also for what the other form of the key comes to, and texts
                assert "truncated" in str(error) or "non-UTF-8" in str(error)


TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=40).map(str.encode)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT.map(bytes.lower), st.integers(1, 2000), max_size=60), st.lists(TEXT, max_size=20))
def test_agrees_with_its_twin(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, int], others: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "twin"
    before = live_objects()
    make(path, {key: b"v" * size for key, size in entries.items()})
    file = CdbFile(bytes(path) + b".cdb")
    for key in [*entries, *others, b""]:
        assert file.get(key) == lookup(Path(f"{path}.cdb"), key)
        assert cdb_hash(key) == hash_of(key)
    assert dict(file.entries()) == {key: b"v" * size for key, size in entries.items()}
    del file
    assert live_objects() == before
