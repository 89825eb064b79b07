"""Whatever goes wrong while a table is made: the old one serves, no half-made file is left or seen."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tables_tools import Tools

from fastrelay.admin import compile_table
from fastrelay.admin.compile_table import Fatal, Reading, Rights, compile_source
from fastrelay.tables import open_table
from fastrelay.tables.build import Form
from fastrelay.tables.publish import Busy, Discarded, Ownership, new_file, table_lock
from fastrelay.tables.source import read_entries

OWNERSHIP = Ownership(0o644, None)


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def start(tools: Tools, *args: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "fastrelay", "-c", str(tools.directory / "ours"), "postmap", *args]
    return subprocess.Popen(command, cwd=tools.directory, stderr=subprocess.PIPE)


def test_killed_at_any_moment_leaves_a_whole_table_and_nothing_else(tools: Tools) -> None:
    versions = [{f"key{i}": f"v{version}" for i in range(20_000)} for version in range(8)]
    tools.write("t", "key0 old\n")
    tools.ours("t")
    before = entries(tools.directory)
    seen = set()
    for number, version in enumerate(versions):
        tools.write("t", "".join(f"{key} {value}\n" for key, value in version.items()))
        process = start(tools, "t")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.5 + number * 0.05)  # about when it works
        process.kill()
        process.communicate()
        table = open_table(f"hash:{tools.directory}/t")
        found = {value for i in range(0, 20_000, 999) if (value := table.get(b"key%d" % i)) is not None}
        assert len(found) == 1, "entries of one version"
        seen |= found
        assert entries(tools.directory) == before
    assert tools.ours("t").status == 0
    assert open_table(f"hash:{tools.directory}/t").get(b"key7") == b"v7"


def test_a_full_disk(tools: Tools, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "small") as folder:
        (folder / "t").write_text("key0 old\n")
        assert tools.ours(f"{folder}/t").status == 0
        (folder / "t").write_text("".join(f"key{i} {'v' * 100}\n" for i in range(12_000)))
        answer = tools.ours(f"{folder}/t")
        assert answer.status == 1
        assert "No space left on device" in answer.err
        assert answer.err.count("\n") == 1
        assert tools.ours("-q", "key0", f"{folder}/t").out == b"old\n"
        assert entries(folder) == {"t", "t.lmdb"}
        answer = tools.ours("-ir", f"{folder}/t", stdin=(folder / "t").read_bytes())
        assert (answer.status, answer.err.count("\n")) == (1, 1)
        assert tools.ours("-s", f"{folder}/t").out == b"key0\told\n"
        assert entries(folder) == {"t", "t.lmdb"}


@contextlib.contextmanager
def small_file_system(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(folder)], check=False)
    if done.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs (run as root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_without_nameless_files_what_a_killed_builder_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS: the new file has a name from the beginning."""
    monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(os, "O_TMPFILE", 1 << 30, raising=False)
    path = str(tmp_path / "t.lmdb")
    (tmp_path / ".t.lmdb.0123abcd").write_text("left by a killed one")
    (tmp_path / ".t.lmdb.original").write_text("somebody's")
    with new_file(path, OWNERSHIP) as made:
        assert made.startswith(str(tmp_path / ".t.lmdb."))
        assert not os.path.exists(path)
        Path(made).write_text("whole")
    assert entries(tmp_path) == {"t.lmdb", ".t.lmdb.original"}
    assert Path(path).read_text() == "whole"


@pytest.mark.parametrize("error", [Discarded, OSError, KeyboardInterrupt])
def test_what_is_given_up_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "t.lmdb"
    path.write_text("old")
    with contextlib.suppress(error), new_file(str(path), OWNERSHIP) as made:
        Path(made).write_text("half")
        raise error
    assert entries(tmp_path) == {"t.lmdb"}
    assert path.read_text() == "old"


def test_builders_of_one_table_work_one_after_the_other(tools: Tools) -> None:
    """The last to finish has read the newest source, however long the first one takes."""
    tools.write("t", "key old\n")
    with table_lock(f"{tools.directory}/t.lmdb"):
        late = start(tools, "t")
        with pytest.raises(subprocess.TimeoutExpired):
            late.wait(timeout=2)
        tools.write("t", "key new\n")
    assert late.wait(timeout=60) == 0
    late.communicate()
    assert open_table(f"hash:{tools.directory}/t").get(b"key") == b"new"


def test_many_at_once(tools: Tools) -> None:
    for name in ("t", "u"):
        tools.write(name, "".join(f"{name}{i} 1\n" for i in range(500)))
    running = [start(tools, name, "u") for name in ("t", "u") * 3]
    assert [process.wait(timeout=100) for process in running] == [0] * 6
    assert {process.communicate()[1] for process in running} == {b""}
    for name in ("t", "u"):
        assert tools.ours("-s", name).out.count(b"\n") == 500


def test_changes_at_once_lose_nothing(tools: Tools) -> None:
    tools.write("t", "start 1\n")
    tools.ours("t")
    threads = [
        threading.Thread(target=lambda i=i: tools.ours("-i", "t", stdin=b"key%d 1\n" % i)) for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tools.ours("-s", "t").out.count(b"\n") == 13


def test_the_lock_follows_the_table(tmp_path: Path) -> None:
    path = str(tmp_path / "t.lmdb")
    for _ in range(2):  # on the directory, then on the file
        with table_lock(path), pytest.raises(Busy), table_lock(path, wait=False):
            pass
        with table_lock(path), new_file(path, OWNERSHIP):
            pass
    with table_lock(path), table_lock(str(tmp_path / "other.lmdb"), wait=False):
        pass


class Meddled:
    """A reader of sources, in whose middle somebody edits the file."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.times, self.said = path, times, list[str]()

    def convert(self, value: bytes) -> bytes:
        if self.times:
            self.times -= 1
            self.path.write_text(f"key new{self.times}\nmore {self.times}\n")
            os.utime(self.path, (self.times + 100, self.times + 100))
        return value

    def reading(self) -> Reading:
        return Reading(read_entries, True, True, self.convert, self.said.append)


def test_a_source_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    source = tmp_path / "t"
    source.write_text("key old\n")
    meddled = Meddled(source, 2)
    compile_source(str(source), f"{source}.lmdb", meddled.reading(), Form(), Rights())
    assert open_table(f"hash:{source}").get(b"key") == b"new0"
    assert meddled.said == [f"{source}: the file changed while it was read: reading it again"] * 2


def test_a_source_that_never_rests_is_given_up(tmp_path: Path) -> None:
    source = tmp_path / "t"
    source.write_text("key old\n")
    compile_source(str(source), f"{source}.lmdb", Meddled(source, 0).reading(), Form(), Rights())
    with pytest.raises(Fatal, match=r"changes all the time, .*t\.lmdb stays as it is"):
        compile_source(str(source), f"{source}.lmdb", Meddled(source, 1000).reading(), Form(), Rights())
    assert open_table(f"hash:{source}").get(b"key") == b"old"
    assert entries(tmp_path) == {"t", "t.lmdb"}


def test_a_change_before_the_rename_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "t"
    source.write_text("key old\n")
    looks = iter([False, True])
    real = compile_table._has_changed
    monkeypatch.setattr(
        compile_table, "_has_changed", lambda name, before: next(looks, None) or real(name, before)
    )
    meddled = Meddled(source, 0)
    compile_source(str(source), f"{source}.lmdb", meddled.reading(), Form(), Rights())
    assert len(meddled.said) == 1
    assert open_table(f"hash:{source}").get(b"key") == b"old"


def test_a_pipe_is_no_file_that_changes(tools: Tools) -> None:
    fifo = tools.directory / "t"
    os.mkfifo(fifo)
    process = start(tools, "t")
    with fifo.open("w") as file:
        file.write("key value\n")
    assert process.wait(timeout=60) == 0
    process.communicate()
    assert open_table(f"hash:{fifo}").get(b"key") == b"value"
