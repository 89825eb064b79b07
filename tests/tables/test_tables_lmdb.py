"""LMDB tables whose files are replaced, truncated, missing, unreadable or changed in place meanwhile."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables_tools import Tools, needs_postmap, open_to_all

from fastrelay.tables import TableError, open_table
from fastrelay.tables.build import Form, Ownership, Sorter, build
from fastrelay.tables.lmdb_table import LmdbTable
from fastrelay.tables.table import Table
from reference.lmdb_reference import lookup

OWNERSHIP = Ownership(0o644, None)


def make(path: Path, entries: dict[bytes, bytes], end: bytes = b"\0") -> None:
    sorter = Sorter(str(path.parent))
    for line, (key, value) in enumerate(entries.items()):
        sorter.add(key + end, line, value + end)
    build(f"{path}.lmdb", sorter, Form(wanted_end=end), OWNERSHIP, lambda line, key: None)


def table_of(path: Path) -> Table:
    return open_table(f"hash:{path}")


def test_replaced_while_open_is_seen_by_the_next_lookup(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"key": b"old"})
    table = table_of(tmp_path / "t")
    assert table.get(b"KEY") == b"old"
    before = table.version()
    make(tmp_path / "t", {b"key": b"new", b"more": b"1"})
    assert (table.get(b"key"), table.get(b"more")) == (b"new", b"1")
    assert table.version() != before


def test_missing_file_is_an_error_and_heals(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t")
    assert table.problem == f"open database {tmp_path}/t.lmdb: No such file or directory"
    with pytest.raises(TableError, match="No such file"):
        table.get(b"key")
    make(tmp_path / "t", {b"key": b"value"})
    assert table.get(b"key") == b"value"
    (tmp_path / "t.lmdb").unlink()
    with pytest.raises(TableError):
        table.get(b"key")


def test_truncated_in_place_is_an_error_and_not_a_bus_error(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"key%d" % i: b"value" * 20 for i in range(5000)})
    path = tmp_path / "t.lmdb"
    size = path.stat().st_size
    table = table_of(tmp_path / "t")
    assert table.get(b"key7") is not None
    for length in (size - 1, size // 2, 12288, 8192, 5000, 100, 0):
        os.truncate(path, length)
        errors = 0
        for i in range(5000):
            try:
                assert table.get(b"key%d" % i) == b"value" * 20
            except TableError:
                errors += 1
        assert errors > 0, length


@pytest.mark.parametrize("content", [b"", b"x", b"garbage" * 5000, b"\0" * 40000, b"\xff" * 40000])
def test_garbage_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.lmdb").write_bytes(content)
    table = table_of(tmp_path / "t")
    assert table.problem is not None
    with pytest.raises(TableError, match="truncated or not an LMDB"):
        table.get(b"key")
    make(tmp_path / "t", {b"key": b"value"})
    assert table.get(b"key") == b"value"


def test_flipped_bytes_never_crash(tmp_path: Path) -> None:
    """In a process of its own, which must live: each of 800 damaged files is asked for every key."""
    make(tmp_path / "t", {b"key%d" % i: b"v" * (i * 40) for i in range(150)})
    script = f"""
import random
from fastrelay.tables import TableError, open_table
good = open({str(tmp_path / "t.lmdb")!r}, "rb").read()
rng = random.Random(7)
for round in range(800):
    bad = bytearray(good)
    for _ in range(rng.randrange(1, 30)):
        at = rng.randrange(len(bad))
        page = at & ~4095
        if rng.random() < 0.7:
            at = page + rng.randrange(64)
        bad[at] = rng.choice((0, 1, 255, rng.randrange(256)))
    name = {str(tmp_path / "bad.lmdb")!r}
    open(name, "wb").write(bad)
    table = open_table("hash:" + name.removesuffix(".lmdb"))
    for i in range(0, 150, 7):
        try:
            table.get(b"key%d" % i)
        except TableError:
            pass
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.stdout == "alive\n", done.stderr[-500:]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_permission(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"key": b"value"})
    os.chmod(tmp_path / "t.lmdb", 0o600)
    open_to_all(tmp_path)
    opened = table_of(tmp_path / "t")
    os.seteuid(65534)
    try:
        late = table_of(tmp_path / "t")
        assert late.problem == f"open database {tmp_path}/t.lmdb: Permission denied"
        with pytest.raises(TableError, match="Permission denied"):
            late.get(b"key")
        assert opened.get(b"key") == b"value"  # opened while root, as for sasl_passwd tables
    finally:
        os.seteuid(0)
    assert late.get(b"key") == b"value"


def test_directory_and_fifo_are_errors(tmp_path: Path) -> None:
    (tmp_path / "d.lmdb").mkdir()
    os.mkfifo(tmp_path / "f.lmdb")
    for name in "df":
        with pytest.raises(TableError):
            table_of(tmp_path / name).get(b"key")


def test_it_is_the_0_9_format(tmp_path: Path) -> None:
    """py-lmdb 3 can write a newer one that Debian's postmap does not read."""
    make(tmp_path / "t", {b"key": b"value"})
    header = (tmp_path / "t.lmdb").read_bytes()[16:24]
    assert header == (0xBEEFC0DE).to_bytes(4, "little") + (1).to_bytes(4, "little")


def test_survives_a_fork(tmp_path: Path) -> None:
    make(tmp_path / "t", {b"key": b"value"})
    table = table_of(tmp_path / "t")
    child = os.fork()
    if child == 0:
        os._exit(0 if table.get(b"key") == b"value" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert table.get(b"key") == b"value"


@needs_postmap
def test_debians_postmap_changing_the_table_in_place(tools: Tools) -> None:
    """Readers see every key of a batch, or the batch before: no torn answer, no false "not found"."""
    keys = [f"key{i}" for i in range(300)]
    tools.write("t", "".join(f"{key} 0\n" for key in keys))
    tools.postfix("lmdb:t")
    done = threading.Event()

    def change() -> None:
        for generation in range(1, 7):
            lines = "".join(f"{key} {generation}{'x' * (generation * 97 % 700)}\n" for key in keys)
            tools.postfix("-ir", "lmdb:t", stdin=lines.encode())
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    table = open_table(f"lmdb:{tools.directory}/t")
    seen = set()
    while not done.is_set():
        value = table.get(random.choice(keys).encode())
        assert value is not None
        generation = int(value.rstrip(b"x"))
        assert len(value) == 1 + generation * 97 % 700 * (generation > 0)
        seen.add(generation)
    writer.join()
    assert len(seen) > 1


@needs_postmap
def test_debians_postmap_reads_a_large_table_of_ours(tools: Tools) -> None:
    make(tools.directory / "t", {b"key%d" % i: b"v" * 500 for i in range(60000)})
    answer = tools.postfix("-q", "-", "lmdb:t", stdin=b"key59999\nkey1\nnone\n")
    assert answer.out == b"key59999\t%b\nkey1\t%b\n" % (b"v" * 500, b"v" * 500)


TEXT = st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=60).map(str.encode)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(TEXT.map(bytes.lower), st.integers(1, 9000), max_size=80), st.lists(TEXT), st.booleans()
)
def test_agrees_with_py_lmdb(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, int], others: list[bytes], nul: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "twin"
    make(path, {key: b"v" * size for key, size in entries.items()}, b"\0" if nul else b"")
    table = table_of(path)
    for key in [*entries, *others, b"", b"a\0", b"x" * 511, b"x" * 512]:
        expected = None if b"\0" in key or len(key) > 511 else lookup(Path(f"{path}.lmdb"), key.lower())
        assert table.get(key) == expected
    assert dict(table.items()) == {key: b"v" * size for key, size in entries.items()}


@pytest.mark.parametrize("ends", [(b"\0",), (b"",), (b"\0", b"")])
def test_deep_trees_and_deletions(tmp_path: Path, ends: tuple[bytes, ...]) -> None:
    """A tree that py-lmdb made by random changes, not by our sorted build; of two forms the one with a NUL counts."""
    path = tmp_path / "t.lmdb"
    rng = random.Random(3)
    entries: dict[bytes, bytes] = {}
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 28, sync=False) as environment:
        for _ in range(20):
            with environment.begin(write=True) as transaction:
                for _ in range(1500):
                    key = b"k%d" % rng.randrange(20000) * rng.randrange(1, 20) + rng.choice(ends)
                    if rng.random() < 0.3:
                        entries.pop(key, None)
                        transaction.delete(key)
                    else:
                        entries[key] = b"v%d" % rng.randrange(10**6)
                        transaction.put(key, entries[key] + b"\0")
    table = table_of(tmp_path / "t")
    for key in {key.removesuffix(b"\0") for key in entries} | {b"k%d" % i for i in range(20000)}:
        assert table.get(key) == entries.get(key + b"\0", entries.get(key))


def test_a_plain_key_on_the_page_before(tmp_path: Path) -> None:
    """Where the other form would begin the next page: all pairs of neighbours, one of each deleted."""
    path = tmp_path / "t.lmdb"
    keys = [b"%05d" % i for i in range(3000)]
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 28, sync=False) as environment:
        with environment.begin(write=True) as transaction:
            for key in keys:
                transaction.put(key, b"plain")
                transaction.put(key + b"\0", b"nul")
        with environment.begin(write=True) as transaction:
            for key in keys:
                transaction.delete(key + b"\0")
    table = table_of(tmp_path / "t")
    assert {table.get(key) for key in keys} == {b"plain"}


@given(st.lists(st.text("abK1\n ", max_size=6), max_size=30), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_answers_to_a_text_are_those_to_its_keys(tmp_path: Path, lines: list[str], fold: bool) -> None:
    if not (tmp_path / "t.lmdb").exists():
        make(
            tmp_path / "t",
            {b"a": b"1", b"ab": b"2 ", b"k1": "\u00e9".encode(), b" ": b"blank", b"b" * 5: b"3"},
        )
    table = open_table(f"lmdb:{tmp_path}/t", fold=fold)
    text = "\n".join(lines).encode()
    keys = text.removesuffix(b"\n").split(b"\n")
    wanted = b"".join(key + b"=" + value + b"\n" for key in keys if (value := table.get(key)) is not None)
    assert isinstance(table, LmdbTable)
    assert table.answers(text, b"=") == wanted
    assert table.answers(text + "\u00e9".encode(), b"=") is None
    assert table.answers(text + b"\0", b"=") is None
