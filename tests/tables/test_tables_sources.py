"""Text tables whose sources are missing, unreadable, huge, full of NULs or not UTF-8; and what a reload sees."""

import os
from pathlib import Path

import pytest
from tables_tools import open_to_all

from fastrelay.tables import TableError, open_table, table
from fastrelay.tables.table import Table

KINDS = {  # a rule for the key "10.1.1.1" with the value that is put in
    "texthash": b"10.1.1.1 %s\n",
    "cidr": b"10.0.0.0/8 %s\n",
    "regexp": b"/^10[.]/ %s\n",
    "pcre": b"/^10\\./ %s\n",
}
KEY = b"10.1.1.1"
everywhere = pytest.mark.parametrize("kind", KINDS)


def opened(kind: str, path: Path) -> Table:
    return open_table(f"{kind}:{path}")


@everywhere
def test_a_missing_source_is_an_error_and_heals(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "RETRY_SECONDS", -1.0)
    path = tmp_path / "t"
    tested = opened(kind, path)
    assert tested.problem is not None and tested.problem.endswith(f"{path}: No such file or directory")
    for _ in range(2):
        with pytest.raises(TableError, match="No such file"):
            tested.get(KEY)
    path.write_bytes(KINDS[kind] % b"value")
    assert tested.get(KEY) == b"value"
    path.unlink()
    assert tested.get(KEY) == b"value"  # as with Postfix, what was read is not looked at again


@everywhere
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_source_that_cannot_be_read(kind: str, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    path = tmp_path / "t"
    path.write_bytes(KINDS[kind] % b"secret")
    path.chmod(0o600)
    os.seteuid(65534)
    try:
        tested = opened(kind, path)
        with pytest.raises(TableError, match="Permission denied"):
            tested.get(KEY)
    finally:
        os.seteuid(0)


@everywhere
def test_a_directory_and_a_loop(kind: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, reason in (
        (tmp_path, "Is a directory"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
    ):
        with pytest.raises(TableError, match=reason):
            opened(kind, path).get(KEY)


@everywhere
def test_a_reload_sees_the_new_source_and_the_old_table_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(KINDS[kind] % b"old")
    before = opened(kind, path)
    path.write_bytes(KINDS[kind] % b"new")
    assert (before.get(KEY), opened(kind, path).get(KEY)) == (b"old", b"new")


@everywhere
def test_huge_lines_and_values(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    value = b"v" * 3_000_000
    path.write_bytes(b"# " + b"c" * 2_000_000 + b"\n" + KINDS[kind] % value + b" " + b"w" * 1000)
    tested = opened(kind, path)
    assert tested.warnings == []
    assert tested.get(KEY) == value + b" " + b"w" * 1000
    assert tested.get(b"k" * 3_000_000) is None


@everywhere
def test_an_empty_source_knows_nothing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    for content in (b"", b"\n\n", b"# only\n   # comments\n", b"\xef\xbb\xbf\n"):
        path.write_bytes(content)
        tested = opened(kind, path)
        assert (tested.problem, tested.get(KEY), tested.get(b"")) == (None, None, None)


@everywhere
def test_bad_lines_are_named_by_number_and_the_others_hold(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    bad = {"texthash": b"lonely", "cidr": b"10.0.0.1/8 x", "regexp": b"/(/ x", "pcre": b"/(/ x"}[kind]
    path.write_bytes(b"#\n\n" + bad + b"\n" + KINDS[kind] % b"good\n  text" + bad + b"\n  x\n" + bad)
    tested = opened(kind, path)
    assert tested.get(KEY) == b"good  text"
    lines = [line.partition(", line ")[2].partition(":")[0] for line in tested.warnings]
    assert lines == (["3", "6", "8"] if kind != "texthash" else ["3", "8"])


@everywhere
def test_values_that_are_not_utf8(kind: str, tmp_path: Path) -> None:
    """While smtputf8_enable is on: no answer may bring such bytes into a reply or an address."""
    path = tmp_path / "t"
    path.write_bytes(KINDS[kind] % b"v\xff")
    tested = opened(kind, path)
    if kind == "texthash":  # the line is left out when it is read
        assert tested.get(KEY) is None and "non-UTF-8 input" in tested.warnings[0]
    else:
        with pytest.raises(TableError, match="non-UTF-8 value"):
            tested.get(KEY)
    assert open_table(f"{kind}:{path}", utf8=False).get(KEY) == b"v\xff"


@pytest.mark.parametrize("kind", ["cidr", "regexp", "pcre"])
def test_what_follows_a_nul_is_not_there(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(KINDS[kind] % b"one\0two" + KINDS[kind] % b"never")
    tested = opened(kind, path)
    assert tested.get(KEY) == b"one"
    assert tested.get(b"\0" + KEY) is None
    assert [line.rpartition(", ")[2] for line in tested.warnings] == ["line 1: ignoring what follows a NUL"]
