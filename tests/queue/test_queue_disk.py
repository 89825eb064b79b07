"""Disks that fail, lie short or are full, by a table of file functions of the test's own."""

import errno
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fastrelay.borders import Status
from fastrelay.queue.files import FILES, Buffer, Files, Space
from fastrelay.queue.space import SpaceCheck
from support.queue_lab import MIB, Lab, envelope, outcome, settings

KEEPS_OBJECTS = "a spool whose disk failed is dropped, not closed"


class FaultyFiles(Files):
    """The `when`th call of `call` fails with `code`; counts what comes after."""

    def __init__(self) -> None:
        self.call, self.code, self.when = "", 0, 0
        self.after: list[str] = []
        self.failed = False

    def fail(self, call: str, code: int, when: int = 1) -> None:
        self.call, self.code, self.when = call, code, when

    def _count(self, call: str) -> None:
        if self.failed:
            self.after.append(call)
        elif call == self.call:
            self.when -= 1
            if self.when == 0:
                self.failed = True
                raise OSError(self.code, "injected")

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        self._count("pwritev")
        return super().pwritev(fd, buffers, offset)

    def fdatasync(self, fd: int) -> None:
        self._count("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._count("fsync")
        super().fsync(fd)

    def rename(self, old: str, new: str, *, dir_fd: int, new_dir_fd: int | None = None) -> None:
        self._count("rename")
        super().rename(old, new, dir_fd=dir_fd, new_dir_fd=new_dir_fd)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["fdatasync", "pwritev"])
def test_a_failing_commit_is_fatal_once_and_nothing_is_acknowledged(
    tmp_path: Path, call: str, code: int
) -> None:
    files = FaultyFiles()
    lab = Lab(tmp_path, files=files)
    lab.warm()
    acked = len(lab.acked)
    files.fail(call, code, 2)
    lab.store(envelope(), [b"durable"])
    lab.append(envelope(), [b"lost"])
    lab.until(lambda: bool(lab.fatal))
    for _ in range(5):
        lab.append(envelope(), [b"late"])
    time.sleep(0.05)
    lab.spool.completed()
    assert len(lab.acked) == acked + 1
    assert len(lab.fatal) == 1 and "injected" in lab.fatal[0]
    assert files.after == []  # neither that file nor another is tried again
    lab.crash()
    lab = Lab(tmp_path)
    assert {e.message_id for e in lab.acked} <= set(lab.spool.entries)
    lab.stop()


@pytest.mark.parametrize(("call", "when"), [("fsync", 2), ("rename", 1), ("fsync", 1), ("pwritev", 3)])
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_an_error_in_making_a_segment_is_fatal(tmp_path: Path, call: str, when: int, code: int) -> None:
    files = FaultyFiles()
    lab = Lab(tmp_path, files=files, start=False)
    files.fail(call, code, when)
    lab.spool.start()
    lab.append(envelope(), [b"x"])
    lab.until(lambda: bool(lab.fatal))
    assert lab.acked == [] and len(lab.fatal) == 1
    lab.crash()
    lab = Lab(tmp_path)
    lab.warm()
    lab.stop()


class ShortFiles(Files):
    """Writes less than it is given, in pieces of any size."""

    def open_direct(self, name: str, *, dir_fd: int) -> int:
        return -1

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        whole = b"".join(buffers)
        return super().pwritev(fd, [whole[: max(1, len(whole) // 3)]], offset)


def test_short_writes_are_completed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, files=ShortFiles())
    entry = lab.store(envelope(), [b"x" * 50_000])
    lab.stop()
    lab = Lab(tmp_path)
    assert lab.spool.read_content(lab.spool.entries[entry.message_id]) == [b"x" * 50_000]
    lab.stop()


class FullDisk(Files):
    """Room for so many new segments and no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.free = 1 << 40

    def open(self, name: str, flags: int, mode: int = 0o600, *, dir_fd: int) -> int:
        if name.endswith(".tmp"):
            if self.room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= 1
        return super().open(name, flags, mode, dir_fd=dir_fd)

    def space(self, fd: int) -> Space:
        return Space(self.free, None)


def test_a_full_disk_refuses_mail_records_outcomes_and_reopens(tmp_path: Path) -> None:
    files = FullDisk(room=4)
    lab = Lab(tmp_path, files=files)
    lab.store(envelope(), [b"x" * 200_000])
    while not lab.refused:
        lab.append(envelope(), [b"x" * 200_000])
        lab.answered(len(lab.acked) + lab.refused + 1)
    assert not lab.spool.has_room(200_000) and not lab.spool.has_room(0)
    assert 10 <= len(lab.acked) <= 16  # three segments; the fourth is kept
    for entry in lab.acked:
        for _ in range(100):
            lab.spool.record(entry, [outcome(0, Status.DEFERRED, b"r" * 200)], next_try=5.0)
    lab.settle()
    assert lab.spool.can_record and lab.fatal == []
    lab.stop()  # a restart with a full disk goes on
    lab = Lab(tmp_path, files=files)
    assert all(e.next_try == 5.0 for e in lab.spool.entries.values())
    for entry in list(lab.spool.entries.values()):
        lab.spool.record(entry, [outcome(0, Status.SENT)])
    lab.settle()
    lab.until(lambda: lab.spool.has_room(200_000))  # it drained, the segments are used again
    lab.store(envelope(), [b"x" * 200_000])
    assert lab.fatal == []
    lab.stop()


def test_a_full_disk_reopens_when_others_make_room(tmp_path: Path) -> None:
    files = FullDisk(room=0)
    lab = Lab(tmp_path, files=files)
    lab.append(envelope(), [b"x"])
    lab.until(lambda: lab.refused == 1)
    assert not lab.spool.has_room(1) and lab.spool.wants_tick
    files.room = 10
    lab.until(lambda: lab.spool.has_room(1))
    lab.store(envelope(), [b"x"])
    lab.stop()


def test_a_message_that_was_begun_and_refused_does_not_exist(tmp_path: Path) -> None:
    files = FullDisk(room=3)
    lab = Lab(tmp_path, files=files)
    kept = lab.store(envelope(), [b"k"])
    lab.append(envelope(), [b"x" * 8 * MIB])
    lab.until(lambda: lab.refused == 1)
    lab.spool.record(kept, [outcome(0, Status.DEFERRED)], next_try=3.0)
    lab.settle()
    lab.stop()
    files.room = 10
    lab = Lab(tmp_path, files=files)
    assert list(lab.spool.entries) == [kept.message_id] and lab.problems == []
    assert lab.spool.entries[kept.message_id].next_try == 3.0
    lab.store(envelope(), [b"more"])
    lab.stop()


@pytest.mark.parametrize(
    ("free", "minfree", "limit", "size", "room"),
    [
        (16 * MIB, 0, 10240000, 0, True),
        (15 * MIB - 400_000, 0, 10240000, 0, False),  # 1.5 times message_size_limit
        (100 * MIB, 100 * MIB, 10240000, 0, False),
        (101 * MIB, 100 * MIB, 10240000, 2 * MIB, False),
        (103 * MIB, 100 * MIB, 10240000, 2 * MIB, True),
        (1, 0, 0, 0, True),
    ],
)
def test_postfixs_rule(free: int, minfree: int, limit: int, size: int, room: bool) -> None:
    files = FullDisk(0)
    files.free = free
    check = SpaceCheck(settings(queue_minfree=minfree, message_size_limit=limit), files, -1)
    assert check.has_room(size) is room


def test_space_is_asked_once_a_second_and_reopens_with_a_tenth_more() -> None:
    files, now = FullDisk(0), [0.0]
    check = SpaceCheck(settings(), files, -1, lambda: now[0])
    assert check.has_room(0)
    files.free = 15_000_000
    assert check.has_room(0)
    now[0] = 1.0
    assert not check.has_room(0)
    files.free, now[0] = 15_500_000, 2.0
    assert not check.has_room(0)
    files.free, now[0] = 17_500_000, 3.0
    assert check.has_room(0)


def test_few_inodes_are_no_room() -> None:
    class FewInodes(Files):
        def space(self, fd: int) -> Space:
            return Space(1 << 40, 3)

    assert not SpaceCheck(settings(), FewInodes(), -1).has_room(0)


class PowerCut(Exception):
    """The machine stops here."""


class CutFiles(Files):
    """At the nth write of a batch some of its sectors get through, and then nothing does."""

    def __init__(self, when: int, rng: random.Random) -> None:
        self.when, self.rng = when, rng
        self.dead = False

    def pwritev(self, fd: int, buffers: Sequence[Buffer], offset: int) -> int:
        if self.dead:
            raise PowerCut
        if len(buffers) > 1:
            self.when -= 1
        if self.when > 0:
            return super().pwritev(fd, buffers, offset)
        self.dead = True
        whole = b"".join(buffers)
        order = list(range(0, len(whole), 512))
        self.rng.shuffle(order)
        for at in order[: self.rng.randrange(len(order) + 1)]:
            sector = whole[at : at + 512] if self.rng.random() < 0.9 else self.rng.randbytes(512)
            FILES.pwritev(fd, [sector], offset + at)
        raise PowerCut


@pytest.mark.parametrize("seed", range(40))
def test_power_cut_in_a_batch(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    acked: dict[int, bytes] = {}
    ended: set[int] = set()
    for _ in range(3):  # the second and third lives begin with what the cut left
        lab = Lab(tmp_path, files=CutFiles(rng.randrange(1, 12), rng))
        assert lab.problems == []
        assert set(acked) - ended <= set(lab.spool.entries)
        bodies: dict[int, bytes] = {}
        while not lab.fatal:
            for _ in range(rng.randrange(1, 6)):
                body = rng.randbytes(rng.choice([10, 700, 4000, 150_000]))
                bodies[lab.append(envelope(), [body[:5], body[5:]])] = body
            lab.answered(len(lab.acked) + 1)
            for entry in lab.acked:
                acked[entry.message_id] = bodies[entry.message_id]
            entry = rng.choice(list(lab.spool.entries.values()) or lab.acked or [None])
            if entry is not None and not lab.fatal and entry.message_id in acked:
                ended.add(entry.message_id)
                lab.spool.record(entry, [outcome(0, Status.SENT)])
        lab.crash()
    lab = Lab(tmp_path)
    assert lab.problems == []
    assert set(acked) - ended <= set(lab.spool.entries)
    for message in set(acked) & set(lab.spool.entries):
        assert b"".join(lab.spool.read_content(lab.spool.entries[message])) == acked[message]
    lab.stop()


class HangingDisk(Files):
    """While `hangs` no sync ends."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.entered.set()
        assert self.free.wait(60)
        super().fdatasync(fd)


def test_a_disk_that_hangs_keeps_nobody_waiting_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    files = HangingDisk()
    lab = Lab(tmp_path, files=files, fastrelay_commit_deadline=5)
    kept = lab.store(envelope("kept"), [b"x"])
    failed = lab.store(envelope("failed"), [b"x"])
    lab.spool.record(failed, [outcome(0, Status.BOUNCED)])
    lab.settle()
    files.free.clear()
    files.entered.clear()
    lab.append(envelope("flying"), [b"y"])
    assert files.entered.wait(60)
    lab.append(envelope("large"), [b"w" * 3 * MIB])
    lab.append(envelope("waiting"), [b"z"])
    lab.notice(envelope("notice", notice_of=failed.message_id), failed.message_id)
    assert lab.spool.give_up(100.0) == 0 and not lab.spool.patience.is_over
    assert lab.spool.give_up(104.9) == 0 and lab.refused == 0
    assert lab.spool.give_up(105.1) == 3 and lab.spool.patience.is_over
    assert lab.refused == 3
    lab.append(envelope("while"), [b"v"])
    assert lab.spool.give_up(106.1) == 1 and lab.spool.give_up(107.1) == 0
    files.free.set()
    lab.until(lambda: len(lab.acked) == 3)  # the notice: it waited
    lab.settle()
    assert lab.spool.give_up(108.0) == 0 and not lab.spool.patience.is_over
    notice = lab.acked[2]
    assert set(lab.spool.entries) == {kept.message_id, notice.message_id}
    last = lab.store(envelope("after"), [b"u"])
    lab.stop()
    assert (lab.refused, len(lab.acked)) == (4, 4)
    lab = Lab(tmp_path)
    assert set(lab.spool.entries) == {kept.message_id, notice.message_id, last.message_id}
    assert lab.problems == []
    lab.stop()


def test_a_slow_disk_is_not_a_hanging_one(tmp_path: Path) -> None:
    lab = Lab(tmp_path, fastrelay_commit_deadline=5)
    for second in range(0, 40, 4):
        lab.store(envelope(), [b"x"])
        assert lab.spool.give_up(float(second)) == 0
    assert lab.spool.give_up(1000.0) == 0  # nothing waits
    assert not lab.spool.patience.is_over
    lab.stop()
