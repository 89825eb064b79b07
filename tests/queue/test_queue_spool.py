"""A message's life in the spool, and what of it is there after a restart."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from fastrelay.borders import Status
from fastrelay.queue import _entry, _record
from fastrelay.queue._entry import Entry
from fastrelay.queue._format import CorruptRecord, State
from fastrelay.queue.pace import Pace
from fastrelay.queue.spool import SpoolLocked
from support.queue_lab import MIB, Lab, envelope, outcome

SENT, DEFERRED, BOUNCED = Status.SENT, Status.DEFERRED, Status.BOUNCED


def test_a_message_is_there_after_a_restart(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    body = [b"Subject: x\r\n\r\n", memoryview(b"y" * 5000), b"end\r\n"]
    sent = envelope(recipients=3, size=5019, flags=3, envid=b"e", client_name=b"host")
    entry = lab.store(sent, body)
    for _ in range(2):
        assert lab.spool.read_envelope(entry) == sent
        assert b"".join(lab.spool.read_content(entry)) == b"".join(body)
        assert (entry.state, entry.size, entry.arrival) == (State.INCOMING, 5019, 1.7e9)
        lab.stop()
        lab = Lab(tmp_path)
        assert lab.problems == []
        (entry,) = lab.spool.entries.values()
    lab.stop()


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 262144, 262145, MIB, 3 * MIB + 7, 9 * MIB])
def test_messages_longer_than_a_segment(tmp_path: Path, size: int) -> None:
    lab = Lab(tmp_path)
    body = random.Random(size).randbytes(size)
    before = lab.store(envelope("before"), [b"b"])
    entry = lab.store(envelope(), [body[:1000], body[1000:]])
    after = lab.store(envelope("after"), [b"a"])
    assert b"".join(lab.spool.read_content(entry)) == body
    lab.stop()
    lab = Lab(tmp_path)
    assert lab.problems == []
    assert b"".join(lab.spool.read_content(lab.spool.entries[entry.message_id])) == body
    assert lab.spool.read_content(lab.spool.entries[before.message_id]) == [b"b"]
    assert lab.spool.read_content(lab.spool.entries[after.message_id]) == [b"a"]
    lab.stop()


def test_an_envelope_longer_than_a_frame(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    sent = envelope("x" * 200, recipients=3000)
    entry = lab.store(sent, [b"body\r\n"])
    lab.stop()
    lab = Lab(tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert lab.spool.read_envelope(entry) == sent
    assert len(entry.pending_recipients()) == 3000
    lab.stop()


def test_outcomes_persist(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    one, two, three = (lab.store(envelope(n, recipients=3), [b"x"]) for n in "abc")
    for entry in (one, two, three):
        entry.state = State.ACTIVE
    lab.spool.record(one, [outcome(0, SENT), outcome(1, SENT), outcome(2, SENT)])
    assert one.state is State.DONE and one.message_id not in lab.spool.entries
    lab.spool.record(two, [outcome(0, SENT), outcome(1, DEFERRED, b"busy")])
    lab.spool.record(two, [outcome(2, BOUNCED, b"unknown")], next_try=1234.5)
    assert (two.state, two.tries) == (State.DEFERRED, 1)
    assert lab.spool.read_notes(two)[1].text == b"busy"  # before it is written
    lab.settle()
    assert lab.spool.read_notes(two)[2].text == b"unknown"  # and after
    lab.stop()
    lab = Lab(tmp_path)
    assert set(lab.spool.entries) == {two.message_id, three.message_id}
    two = lab.spool.entries[two.message_id]
    assert (two.state, two.tries, two.next_try) == (State.DEFERRED, 1, 1234.5)
    assert (two.pending_recipients(), two.failed_recipients()) == ([1], [2])
    assert lab.spool.read_notes(two) == {1: outcome(1, DEFERRED, b"busy"), 2: outcome(2, BOUNCED, b"unknown")}
    assert lab.spool.entries[three.message_id].state is State.INCOMING
    lab.stop()


def test_states_by_hand_persist(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    held, released, requeued, removed = (lab.store(envelope(n), [b"x"]) for n in "abcd")
    arrived = lab.append(envelope("e"), [b"x"], hold=True)
    for entry in (held, released, requeued):
        lab.spool.hold(entry)
    lab.spool.release(released)
    lab.spool.requeue(requeued)
    lab.spool.remove(removed)
    held.state = State.HOLD
    lab.spool.record(held, [outcome(0, DEFERRED)], next_try=9.0)  # a delivery that was under way
    assert held.state is State.HOLD
    lab.settle()
    lab.stop()
    lab = Lab(tmp_path)
    states = {m: e.state for m, e in lab.spool.entries.items()}
    assert states == {
        held.message_id: State.HOLD,
        released.message_id: State.DEFERRED,
        requeued.message_id: State.INCOMING,
        arrived: State.HOLD,
    }
    lab.stop()


@pytest.mark.parametrize("same_shard", [True, False])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_notice_is_made_once(tmp_path: Path, same_shard: bool, flushed: bool) -> None:
    lab = Lab(tmp_path, shards=(0, 1))
    entry = lab.store(envelope(recipients=2), [b"x"])
    lab.spool.record(entry, [outcome(0, BOUNCED, b"no"), outcome(1, DEFERRED)], next_try=5.0)
    lab.settle()
    if not same_shard:
        lab.spool._current = 1
    notice = lab.notice(envelope("n", notice_of=entry.message_id), entry.message_id if same_shard else 0)
    assert (notice & 0xFF == entry.message_id & 0xFF) == same_shard
    lab.until(lambda: notice in lab.spool.entries)
    assert entry.failed_recipients() == [] and entry.pending_recipients() == [1]
    if flushed:
        lab.settle()
    else:
        for shard in lab.spool._all:
            shard.pending.clear()  # SETTLED never reaches the disk: the notice's COMMIT must do
    lab.crash()
    lab = Lab(tmp_path, shards=(0, 1))
    entry = lab.spool.entries[entry.message_id]
    assert entry.failed_recipients() == [] and entry.pending_recipients() == [1]
    assert notice in lab.spool.entries
    lab.spool.record(lab.spool.entries[notice], [outcome(0, SENT)])
    lab.settle()
    lab.crash()
    lab = Lab(tmp_path, shards=(0, 1))
    assert lab.spool.entries[entry.message_id].failed_recipients() == []
    lab.stop()


def test_failed_recipients_may_end_without_a_notice(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(recipients=2), [b"x"])
    lab.spool.record(entry, [outcome(0, BOUNCED), outcome(1, SENT)])
    assert entry.message_id in lab.spool.entries
    lab.spool.settle(entry, entry.failed_recipients())
    assert entry.state is State.DONE and not lab.spool.entries
    lab.stop()
    lab = Lab(tmp_path)
    assert not lab.spool.entries
    lab.stop()


def test_outcomes_wait_for_a_batch_or_a_tick(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.warm()  # a new spare wakes the commit thread too
    entries = [lab.store(envelope(), [b"x"]) for _ in range(5)]
    lab.settle()
    shard = lab.spool._all[0]
    before = shard.batch_number
    for entry in entries:
        lab.spool.record(entry, [outcome(0, SENT)])
    time.sleep(0.03)
    assert shard.batch_number == before and lab.spool.wants_tick
    lab.spool.tick(100.0)
    lab.spool.tick(100.02)
    lab.until(lambda: shard.batch_number == before + 1)
    lab.spool.tick(100.04)
    assert not lab.spool.wants_tick
    lab.stop()


def test_a_cancelled_message_is_not_written(tmp_path: Path) -> None:
    lab = Lab(tmp_path, start=False)
    message = lab.spool.new_id(time.time())
    record = lab.spool.append(message, envelope(), [b"x"], lab._done)
    assert record.cancel()
    lab.spool.start()
    lab.store(envelope(), [b"y"])
    assert not record.begun and len(lab.acked) == 1
    lab.stop()


def test_numbers_are_new_even_when_the_clock_goes_back(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    now = time.time()
    message = lab.spool.new_id(now + 3600)
    lab.spool.append(message, envelope(), [b"x"], lab._done)
    lab.until(lambda: bool(lab.acked))
    lab.stop()
    lab = Lab(tmp_path)
    again = [lab.spool.new_id(now) for _ in range(3)]
    assert len({message, *again}) == 4 and min(again) > message
    lab.stop()


def test_new_mail_leaves_a_shard_that_fills_up(tmp_path: Path) -> None:
    lab = Lab(tmp_path, shards=(1, 3))
    seen = {lab.store(envelope(), [b"x" * 200_000]).message_id & 0xFF for _ in range(30)}
    assert seen == {1, 3}
    lab.stop()


def test_new_mail_stays_with_a_shard_that_drains(tmp_path: Path) -> None:
    """Its segments are written over again: few files, and no new zeros."""
    lab = Lab(tmp_path, shards=(1, 3))
    for _ in range(60):
        entry = lab.store(envelope(), [b"x" * 200_000])
        assert entry.message_id & 0xFF == 1
        lab.spool.record(entry, [outcome(0, Status.SENT)])
    shard = lab.spool._all[0]
    assert len(shard.segments) + len(shard.spares) <= 5
    lab.stop()


def test_shards_move_between_workers(tmp_path: Path) -> None:
    lab = Lab(tmp_path, shards=(0, 1, 2, 3))
    messages = {lab.store(envelope(), [b"x" * 300_000]).message_id for _ in range(24)}
    lab.stop()
    first, second = Lab(tmp_path, shards=(0, 2)), Lab(tmp_path, shards=(1, 3))
    assert first.spool.entries.keys().isdisjoint(second.spool.entries)
    assert first.spool.entries.keys() | second.spool.entries.keys() == messages
    first.stop()
    second.stop()


def test_a_shard_belongs_to_one_process(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(SpoolLocked, match="in use"):
        Lab(tmp_path)
    lab.stop()
    Lab(tmp_path).stop()


def test_segments_go_oldest_first_and_are_used_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    kept = lab.store(envelope("kept"), [b"k"])
    for _ in range(30):
        lab.spool.record(lab.store(envelope(), [b"x" * 200_000]), [outcome(0, SENT)])
    (shard,) = lab.spool._all
    assert min(shard.segments) == kept.segment  # nothing goes before the oldest
    lab.spool.record(kept, [outcome(0, SENT)])
    lab.until(lambda: len(shard.segments) <= 2 and len(list((tmp_path / "00").iterdir())) <= 6)
    lab.stop()
    lab = Lab(tmp_path)
    assert lab.problems == [] and not lab.spool.entries
    lab.stop()


def test_relocation_keeps_what_is_left_of_a_message(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    sent = envelope("kept", recipients=4, envid=b"env")
    kept = lab.store(sent, [b"body\r\n"])
    held = lab.store(envelope("held"), [b"h" * 3000])
    lab.spool.hold(held)
    first = kept.segment
    lab.spool.record(kept, [outcome(0, SENT), outcome(1, BOUNCED, b"no"), outcome(2, DEFERRED, b"busy")], 7.5)
    for _ in range(60):
        lab.spool.record(lab.store(envelope(), [b"x" * 200_000]), [outcome(0, SENT)])
    (shard,) = lab.spool._all
    lab.until(lambda: kept.segment > first and held.segment > first)
    lab.until(lambda: len(shard.segments) <= 5)
    assert lab.spool.read_envelope(kept) == sent
    lab.spool.record(kept, [outcome(2, SENT)])
    lab.settle()
    for clean in (False, True):
        lab.stop() if clean else lab.crash()
        lab = Lab(tmp_path)
        assert lab.problems == []
        kept = lab.spool.entries[kept.message_id]
        assert (kept.pending_recipients(), kept.failed_recipients()) == ([3], [1])
        assert (kept.state, kept.tries, kept.next_try) == (State.DEFERRED, 1, 7.5)
        assert lab.spool.read_notes(kept) == {1: outcome(1, BOUNCED, b"no")}
        assert lab.spool.read_content(kept) == [b"body\r\n"]
        assert lab.spool.entries[held.message_id].state is State.HOLD
    lab.stop()


def test_a_crash_before_the_old_segment_goes_leaves_one_message(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    kept = lab.store(envelope("kept", recipients=2), [b"body\r\n"])
    lab.spool.record(kept, [outcome(0, SENT)])
    lab.settle()
    old = (tmp_path / "00" / f"{kept.segment:016x}.seg").read_bytes()
    first = kept.segment
    for _ in range(60):
        lab.spool.record(lab.store(envelope(), [b"x" * 200_000]), [outcome(0, SENT)])
    lab.until(lambda: kept.segment > first)
    lab.until(lambda: first not in lab.spool._all[0].segments)
    lab.spool.record(kept, [outcome(1, SENT)])
    lab.settle()
    lab.crash()
    (tmp_path / "00" / f"{first:016x}.seg").write_bytes(old)  # the unlink was lost
    lab = Lab(tmp_path)
    assert not lab.spool.entries
    lab.stop()


def test_damage_found_when_reading_sets_the_message_aside(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry, other = lab.store(envelope(), [b"x" * 5000]), lab.store(envelope(), [b"y" * 5000])
    path = tmp_path / "00" / f"{entry.segment:016x}.seg"
    with path.open("r+b") as file:
        file.seek(entry.offset + 2000)
        file.write(b"!")
    with pytest.raises(CorruptRecord):
        lab.spool.read_content(entry)
    assert entry.state is State.CORRUPT and list(lab.spool.entries) == [other.message_id]
    assert "damaged" in lab.spool.problems[-1]
    assert os.path.samefile(tmp_path / "corrupt" / f"00-{path.name}", path)
    lab.settle()
    lab.crash()
    lab = Lab(tmp_path)
    assert list(lab.spool.entries) == [other.message_id]
    lab.stop()


def live_objects() -> int:
    return _entry.live_objects() + _record.live_objects()


def test_nothing_is_left_of_finished_messages(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    before = live_objects()
    for _ in range(50):
        lab.spool.record(lab.store(envelope(), [b"x"]), [outcome(0, SENT)])
    lab.settle()
    lab.acked.clear()
    assert live_objects() <= before + 1 and not lab.spool._unwritten
    lab.stop()


def test_a_hundred_thousand_messages_are_read_in_three_seconds(tmp_path: Path) -> None:
    lab = Lab(tmp_path, fastrelay_segment_size=64 * MIB)
    for i in range(100):
        for _ in range(1000):
            lab.append(envelope(), [b"x" * 300])
        lab.answered((i + 1) * 1000)
    lab.stop()
    start = time.process_time()  # another may have the processor meanwhile
    lab = Lab(tmp_path, fastrelay_segment_size=64 * MIB, start=False)
    passed = time.process_time() - start
    assert len(lab.spool.entries) == 100_000 and isinstance(next(iter(lab.spool.entries.values())), Entry)
    assert passed < 3.0
    lab.stop()


def test_a_stop_writes_what_the_loop_has_no_more_turn_for(tmp_path: Path) -> None:
    """The worker stops the spool inside a turn of its loop: what was to begin at its end must not be waited for."""
    never: list[object] = []
    lab = Lab(tmp_path, pace=Pace(never.append, asyncio.new_event_loop().call_later, int))
    lab.append(envelope("stored"), [b"x"])
    assert never and not lab.acked
    begun = time.monotonic()
    lab.stop()
    assert len(lab.acked) == 1
    assert time.monotonic() - begun < 9  # well below what a stop waits for segments
    again = Lab(tmp_path)
    assert len(again.spool.entries) == 1
    again.stop()
