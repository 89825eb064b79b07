"""sync-table: a table follows what another lists, unless the list cannot be believed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tables_tools import OUR_MAIN

from fastrelay.admin import sync_table
from fastrelay.admin.sync_table import Limit, Status, parse_limit
from fastrelay.tables import TableError, open_table, registry
from fastrelay.tables.publish import table_lock
from fastrelay.tables.table import Table

MAIN = "maillog_file = {0}/maillog\nmaillog_file_prefixes = {0}\n"


class Lab:
    """A source of addresses, a table made of it, and where the log and the metrics are."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        (directory / "main.cf").write_text(OUR_MAIN.format(directory) + MAIN.format(directory))
        (directory / "metrics").mkdir()
        self.source = directory / "list"
        self.target = f"{kind}:{directory}/users"
        self.file = directory / ("users.cdb" if kind == "cdb" else "users.lmdb")

    def put(self, count: int, value: str = "OK") -> None:
        self.source.write_text("".join(f"User{i}@customer.example {value}\n" for i in range(count)))

    def run(self, *flags: str, source: str | None = None) -> int:
        metrics = ["--metrics", str(self.directory / "metrics")]
        source = source or f"texthash:{self.source}"
        return sync_table.main(self.directory, [*metrics, *flags, source, self.target])

    def get(self, key: bytes) -> bytes | None:
        return open_table(self.target).get(key)

    @property
    def log(self) -> list[str]:
        path = self.directory / "maillog"
        return path.read_text().splitlines() if path.exists() else []

    def put_back_times(self, seconds: float) -> None:
        """As if the run before had been then."""
        (path,) = (self.directory / "metrics").iterdir()
        path.write_text(
            re.sub(r"^(\w+_timestamp_seconds\{.*\}) .*$", rf"\1 {seconds}", path.read_text(), flags=re.M)
        )

    def metric(self, name: str) -> float:
        (path,) = (self.directory / "metrics").iterdir()
        found = re.search(
            rf"^fastrelay_sync_table_{name}\{{source=.*,target=.*\}} (\S+)$", path.read_text(), re.M
        )
        assert found, path.read_text()
        return float(found[1])


@pytest.fixture(params=["hash", "cdb"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    return Lab(tmp_path, request.param)


def test_a_table_follows_its_source(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.put(100)
    assert lab.run() == Status.DONE
    assert lab.get(b"user7@CUSTOMER.example") == b"OK"
    lab.put(95)
    with lab.source.open("a") as file:
        file.write("new@customer.example OK\nUser1@customer.example again\n")
    serving = open_table(lab.target)
    assert lab.run() == Status.DONE
    assert serving.get(b"user99@customer.example") is None
    assert serving.get(b"new@customer.example") == b"OK"
    assert [line.split("status=")[1].split(", delay")[0] for line in lab.log] == [
        "updated, entries=100, added=100, removed=0, changed=0",
        "updated, entries=96, added=1, removed=5, changed=0",
    ]
    assert re.search(
        r" postfix/sync-table\[\d+\]: source=texthash:\S+, target=(hash|cdb):\S+, status=", lab.log[0]
    )
    assert [lab.metric(name) for name in ("status", "entries", "added", "removed")] == [0, 96, 1, 5]
    assert "duplicate entry" in capfd.readouterr().err


def test_nothing_new_leaves_the_file_alone(lab: Lab) -> None:
    lab.put(10)
    lab.run()
    before = os.stat(lab.file)
    assert lab.run() == Status.DONE
    assert os.stat(lab.file).st_ino == before.st_ino
    assert "status=unchanged" in lab.log[-1]
    lab.put(10, "changed")
    assert lab.run() == Status.DONE
    assert (lab.get(b"user3@customer.example"), lab.metric("changed")) == (b"changed", 10)


def test_too_many_that_vanish_are_refused_until_forced(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    lab.put(200)
    lab.run()
    lab.put_back_times(1000)
    lab.put(179)
    assert lab.run() == Status.REFUSED
    assert lab.get(b"user199@customer.example") == b"OK"
    said = capfd.readouterr().err
    assert "(21 of 200 entries would vanish, more than 20): user179@customer.example, " in said
    assert said.count("would vanish: user") == 20
    assert "and 1 more" in said
    assert "status=refused" in lab.log[-1]
    assert [lab.metric(name) for name in ("status", "removed")] == [2, 21]
    assert lab.metric("last_success_timestamp_seconds") == 1000
    assert lab.metric("last_run_timestamp_seconds") > 1000
    assert lab.run("--force", "--dry-run") == Status.DONE
    assert "status=would be updated" in capfd.readouterr().out
    assert lab.get(b"user199@customer.example") == b"OK"
    assert len(lab.log) == 2
    assert lab.run("--force") == Status.DONE
    assert lab.get(b"user199@customer.example") is None


@pytest.mark.parametrize(
    ("limit", "removed", "status"),
    [
        ("20", 20, Status.DONE),
        ("0", 1, Status.REFUSED),
        ("25", 21, Status.DONE),
        ("5%", 10, Status.DONE),
        ("5%", 11, Status.REFUSED),
        ("8,50%", 9, Status.REFUSED),
        ("50,1%", 3, Status.REFUSED),
    ],
)
def test_limits(lab: Lab, limit: str, removed: int, status: Status) -> None:
    lab.put(200)
    lab.run()
    lab.put(200 - removed)
    assert lab.run("--max-removed", limit) == status
    assert (lab.get(b"user199@customer.example") is None) == (status == Status.DONE)


def test_limits_are_read_exactly() -> None:
    assert parse_limit("20") == Limit(20, None)
    assert parse_limit("2.5%") == Limit(None, 2.5)
    assert parse_limit("20,5%") == Limit(20, 5.0)
    for wrong in ("", "x", "-1", "5%,20", "20,5", "%", "20%5", ",5%5"):
        with pytest.raises(sync_table.Fatal):
            parse_limit(wrong)


def test_an_empty_list_is_never_believed(lab: Lab) -> None:
    lab.put(5)
    lab.run()
    lab.put(0)
    assert lab.run() == Status.REFUSED
    assert lab.get(b"user1@customer.example") == b"OK"
    assert lab.run("--force") == Status.DONE
    assert lab.get(b"user1@customer.example") is None


@pytest.mark.parametrize("source", ["texthash:/nonexistent", "static:x", "nosuch:x", "regexp:/dev/null"])
def test_a_source_that_cannot_be_listed(lab: Lab, source: str) -> None:
    lab.put(5)
    lab.run()
    assert lab.run("--force", source=source) == Status.UNREADABLE
    assert lab.get(b"user1@customer.example") == b"OK"
    assert "status=unreadable" in lab.log[-1]


class HalfTable(Table):
    """A remote table whose server goes away in the middle of the list."""

    type = "half"
    remote = True

    async def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        for i in range(2500):
            yield b"user%d@customer.example" % i, b"OK"
        if self.name == "broken":
            raise TableError(self.label, "connection lost")


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    make: Callable[[str, object], Table] = lambda name, how: HalfTable(name)  # noqa: E731
    monkeypatch.setitem(registry.TYPES, "half", make)


@pytest.mark.usefixtures("half")
def test_half_a_list_is_none(lab: Lab) -> None:
    lab.put(5)
    lab.run()
    assert lab.run("--force", source="half:broken") == Status.UNREADABLE
    assert lab.get(b"user4000@customer.example") is None
    assert "connection lost" in lab.log[-1]
    assert lab.run(source="half:whole") == Status.DONE
    assert lab.get(b"user2499@customer.example") == b"OK"


def test_two_runs_do_not_overlap(lab: Lab) -> None:
    lab.put(5)
    for _ in range(2):  # without a table, and with one
        with table_lock(str(lab.file)):
            assert lab.run() == Status.BUSY
        assert lab.run() == Status.DONE


def test_a_table_that_cannot_be_compared_with_stays(lab: Lab) -> None:
    lab.put(5)
    lab.file.write_bytes(b"garbage")
    assert lab.run() == Status.FAILED
    assert lab.file.read_bytes() == b"garbage"
    assert lab.run("--force") == Status.DONE
    assert lab.get(b"user1@customer.example") == b"OK"


def test_entries_that_no_table_can_have_are_told_and_left_out(
    lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    lab.source.write_text("good 1\n" + "".join(f"{'x' * 600}{i} 1\n" for i in range(50)))
    assert lab.run() == Status.DONE
    assert lab.metric("skipped") == 50
    assert capfd.readouterr().err.count("key is longer") == sync_table.SHOWN


@pytest.mark.parametrize(
    "args", [[], ["hash:a"], ["a", "hash:b"], ["texthash:a", "static:b"], ["-Z", "a:b", "c:d"]]
)
def test_usage(lab: Lab, args: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert sync_table.main(lab.directory, args) == Status.FAILED
    assert capfd.readouterr().err.startswith("sync-table: fatal: ")


def test_a_log_or_metrics_that_cannot_be_written_do_not_matter(
    lab: Lab, capfd: pytest.CaptureFixture[str]
) -> None:
    (lab.directory / "main.cf").write_text("maillog_file = /nowhere/log\nmaillog_file_prefixes = /nowhere\n")
    lab.put(5)
    assert (
        sync_table.main(lab.directory, ["--metrics", "/nowhere", f"texthash:{lab.source}", lab.target]) == 0
    )
    said = capfd.readouterr().err
    assert "maillog_file" in said
    assert "metrics in /nowhere" in said
    assert lab.get(b"user1@customer.example") == b"OK"


def test_killed_in_the_middle_leaves_the_old_table_and_nothing_else(lab: Lab) -> None:
    lab.put(5)
    lab.run()
    before = {path.name for path in lab.directory.iterdir()}
    fifo = lab.directory / "fifo"
    os.mkfifo(fifo)
    command = [sys.executable, "-m", "fastrelay", "-c", str(lab.directory), "sync-table"]
    process = subprocess.Popen([*command, f"texthash:{fifo}", lab.target])
    with fifo.open("w") as file:  # the program reads: it has the lock
        file.write("half OK\n" * 1000)
        file.flush()
        assert lab.run() == Status.BUSY
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    fifo.unlink()
    assert {path.name for path in lab.directory.iterdir()} == before
    assert lab.run() == Status.DONE
    assert lab.get(b"half") is None
    assert time.time() - lab.metric("last_success_timestamp_seconds") < 100
