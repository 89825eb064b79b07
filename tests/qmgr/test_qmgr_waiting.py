"""The waiting room against a list that is searched each time, and what it costs an entry."""

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from fastrelay.qmgr import waiting
from fastrelay.qmgr.waiting import SPAN, Source, WaitingRoom

START = 1.7e9


class Entry:
    __slots__ = ("next_try", "recipients")

    def __init__(self) -> None:
        self.next_try = 0.0
        self.recipients = 1


def taken(room: WaitingRoom, now: float) -> list[Entry]:
    found = []
    while (one := room.take(now, fresh=False, deferred=True)) is not None:
        found.append(one[0])
    return found


# times close together, a span apart, and far away
TIMES = st.one_of(st.floats(0, 3 * SPAN), st.integers(0, 10).map(lambda n: n * SPAN), st.floats(0, 4000))
STEPS = st.lists(
    st.tuples(st.sampled_from(["schedule", "hold", "take"]), st.integers(0, 9), TIMES), max_size=60
)


@given(STEPS)
def test_waiting_room_gives_what_a_search_would_find(steps):
    room, now = WaitingRoom(lambda recipients: True), START
    entries = [Entry() for _ in range(10)]
    for what, number, time in steps:
        entry = entries[number]
        if what == "hold":
            entry.next_try = 0.0
        elif what == "schedule":
            wake = room.next_due(fresh=False, deferred=True)
            said = room.schedule(entry, now + time)
            assert said or wake <= now + time, "nobody would wake up for it"
        else:
            now += time
            due = {e for e in entries if 0 < e.next_try <= now}
            wake = room.next_due(fresh=False, deferred=True)
            assert not due or (wake is not None and wake <= min(e.next_try for e in due))
            order = taken(room, now)
            assert set(order) == due
            assert len(order) <= len(due) + sum(s[0] == "schedule" for s in steps)
            assert [e.next_try for e in order] == sorted(e.next_try for e in order)
            for e in due:
                e.next_try = 0.0
    left = {e for e in entries if e.next_try}
    room.flush()
    assert room.next_due(False, True) == 0.0 or not left
    assert set(taken(room, now)) == left


def test_waiting_room_wakes_nobody_when_all_have_left():
    room, entry = WaitingRoom(lambda recipients: True), Entry()
    room.schedule(entry, START + 100)
    assert room.next_due(False, True) == START + 100
    entry.next_try = 0.0
    assert taken(room, START + 100) == []
    assert room.next_due(False, True) is None


def test_waiting_room_after_a_flush_says_so():
    room, entry = WaitingRoom(lambda recipients: True), Entry()
    room.schedule(entry, START + 100)
    room.flush()
    assert room.take(START, False, True) == (entry, Source.FLUSHED)


def test_waiting_room_costs_an_entry_its_place_in_a_list():
    """200,000 deferred messages are to fit into 60 MB, all included (docs/benchmarks.md)."""
    count = 50_000
    entries = [Entry() for _ in range(count)]
    dues = [START + random.uniform(0, 4000) for _ in range(count)]
    room = WaitingRoom(lambda recipients: True)
    for entry in entries:  # so that the due times are there before
        entry.next_try = START
    tracemalloc.start()
    try:
        room.load(zip(entries, dues, strict=True))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 16
    assert len(taken(room, START + 5000)) == count


def test_no_more_than_some_step_aside(monkeypatch):
    """Then all wait for the first of them, and nobody is to look again before there is room."""
    monkeypatch.setattr(waiting, "LARGE_LIMIT", 3)
    most = 10
    room = WaitingRoom(lambda recipients: recipients <= most)
    large, small = [Entry() for _ in range(5)], Entry()
    for entry in large:
        entry.recipients = 1000
    for entry in [*large, small]:
        room.add_incoming(entry)
    assert room.take(START, fresh=True, deferred=True) is None
    assert (len(room.large), len(room.incoming)) == (3, 3)
    assert room.next_due(fresh=True, deferred=True) is None
    most = 1000
    assert room.next_due(fresh=True, deferred=True) == 0.0
    assert [room.take(START, fresh=True, deferred=True) for _ in range(7)] == [
        *((entry, Source.INCOMING) for entry in [*large, small]),
        None,
    ]
