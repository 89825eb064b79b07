"""Backoff, jitter, the active queue's limits, and the ramps after a restart and a flush."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from qmgr_parts import START, House, State, make_settings

from fastrelay.borders import Status
from fastrelay.qmgr.backoff import expiry, next_try
from fastrelay.qmgr.steady import SteadyClock
from fastrelay.qmgr.waiting import Ramp, Source, WaitingRoom


@given(
    age=st.floats(-1e6, 1e7),
    randomness=st.floats(0, 1),
    jitter=st.integers(0, 100),
    minimal=st.floats(1, 1000),
    more=st.floats(0, 1e5),
)
def test_backoff_bounds(age, randomness, jitter, minimal, more):
    settings = make_settings(
        minimal_backoff_time=minimal, maximal_backoff_time=minimal + more, fastrelay_retry_jitter=jitter
    )
    delay = next_try(settings, START - age, START, randomness) - START
    slack = 1e-5  # of a double near the epoch's seconds
    assert minimal - slack <= delay <= (minimal + more) * (1 + jitter / 100) + slack
    if randomness == 0 and minimal <= age <= minimal + more:
        assert abs(delay - age) < slack  # Postfix's rule: the age doubles


def test_age_doubles_between_the_limits():
    settings = make_settings(fastrelay_retry_jitter=0)
    now, delays = START, []
    for _ in range(8):
        due = next_try(settings, START, now, 0.5)
        delays.append(due - now)
        now = due
    assert delays == [300, 300, 600, 1200, 2400, 4000, 4000, 4000]


def test_a_message_from_the_future_is_tried_and_not_expired():
    settings = make_settings()
    assert next_try(settings, START + 3600, START, 0.0) == START + 300
    assert expiry(settings, START + 3600, b"s@x.test") > START


def test_jitter_spreads_a_cohort():
    house = House(fastrelay_retry_jitter=20)
    entries = []
    for n in range(100):
        house.randomness = n / 100
        entries.append(house.accept(b"a@d%d.test" % n))
        house.pump()
        house.agent.take_all()
        queue, delivery = house.agent.taken[0]
        house.agent.end(queue, delivery, Status.DEFERRED)
        house.agent.take_all()
    tries = sorted(entry.next_try - START for entry in entries)
    assert tries[0] == 300 and 355 < tries[-1] <= 360
    assert max(b - a for a, b in itertools.pairwise(tries)) < 1


def recover(count, **settings):
    first = House(**settings)
    for n in range(count):
        first.accept(b"a@d%d.test" % (n % 50))
    again = House(spool=first.spool, now=START + 1000, **settings)
    again.manager.recovered(list(first.spool.entries.values()))
    return again


def test_restart_ramps():
    house = recover(5000)
    counts = []
    for _ in range(6):
        house.advance(1.0)
        counts.append(house.spool.reads)
    assert counts[0] <= 250  # 100 a second at first, growing
    assert [b > a * 1.5 for a, b in itertools.pairwise(counts)][:4] == [True] * 4
    house.advance(10)
    assert len(house.manager.active) == 5000


def test_restart_takes_new_mail_in_order_and_without_delay():
    house = recover(1000)
    house.advance(0.01)
    order = list(house.manager.active)
    assert order == sorted(order) and len(order) == 50
    new = house.accept(b"new@new.test")
    house.advance(12)
    assert new.message_id in house.manager.active


def test_restart_of_deferred_mail_keeps_due_times_and_skips_what_is_on_hold():
    house = House()
    due = house.accept(b"a@one.test")
    later = house.accept(b"a@two.test")
    held = house.accept(b"a@three.test")
    due.next_try, later.next_try = START + 10, START + 5000
    due.state = later.state = State.DEFERRED
    house.spool.hold(held)
    again = House(spool=house.spool, now=START + 100)
    again.manager.recovered(list(house.spool.entries.values()))
    again.advance(1)
    assert list(again.manager.active) == [due.message_id]
    again.advance(4900)
    assert later.message_id in again.manager.active and held.message_id not in again.manager.active


def test_ramp_doubles_up_to_its_limit():
    ramp = Ramp(START)
    assert [ramp.rate(START + s) for s in (-5, 0, 1, 2, 10, 1e9)] == [100, 100, 200, 400, 5000, 5000]


def test_active_limit_and_order_of_what_waits():
    house = House(qmgr_message_active_limit=8)
    for n in range(40):
        house.accept(b"a@d%d.test" % n)
    assert len(house.manager.active) == 6  # a quarter is for retries
    seen = []
    for _ in range(100):
        house.pump()
        assert len(house.manager.active) <= 8
        house.agent.take_all()
        seen += [delivery.next_hop for _, delivery in house.agent.taken]
        house.agent.succeed_all()
        house.advance(1)
    assert seen == [b"d%d.test" % n for n in range(40)]


def test_recipient_limit():
    house = House(qmgr_message_recipient_limit=10, qmgr_message_recipient_minimum=1)
    for n in range(5):
        house.accept(*(b"u%d@d%d.test" % (u, n) for u in range(6)))
    assert len(house.manager.active) == 2
    house.deliver_everything()
    for _ in range(10):
        house.advance(1)
        house.deliver_everything()
    assert not house.spool.entries


def test_lists_keep_neither_new_nor_deferred_small_mail_out_of_the_active_queue():
    house = House(qmgr_message_recipient_limit=10)
    deferred = [house.accept(*(b"u%d@d%d.test" % (u, n) for u in range(10 + n))) for n in (0, 1)]
    assert len(house.manager.active) == 2
    for entry in deferred:
        house.pump()
        house.agent.take_all()
        for queue, delivery in list(house.agent.taken):
            house.agent.end(queue, delivery, Status.DEFERRED)
        house.agent.take_all()
        assert entry.next_try == START + 300
    lists = [house.accept(*(b"u%d@e%d.test" % (u, n) for u in range(11))) for n in range(3)]
    single = house.accept(b"u@f.test")
    house.advance(301)
    active = set(house.manager.active)
    assert active == {e.message_id for e in (lists[0], single, deferred[0])}
    assert house.manager.next_due() > house.now  # nothing spins for want of room
    house.deliver_everything()
    for _ in range(10):
        house.advance(1)
        house.deliver_everything()
    assert not house.spool.entries and [n for n, _ in house.outcomes[-11:]] == [
        b"u%d@d1.test" % u for u in range(11)
    ]


def test_a_list_that_stepped_aside_and_was_flushed_is_activated_once():
    house = House(qmgr_message_recipient_limit=10)
    first, second = (house.accept(*(b"u%d@e%d.test" % (u, n) for u in range(11))) for n in range(2))
    house.advance(1)
    house.manager.requeue(second)
    house.manager.hold(first)
    house.advance(1)
    assert list(house.manager.active) == [second.message_id]
    house.deliver_everything()
    house.advance(1)
    assert second.state is State.DONE and house.spool.reads == 1


def test_retries_and_new_mail_take_turns():
    room = WaitingRoom(lambda recipients: True)
    house = House()
    for n in range(6):
        room.add_incoming(house.accept(b"a@%d.test" % n))
        room.schedule(house.accept(b"b@%d.test" % n), START - n)
    taken = [room.take(START, True, True) for _ in range(12)]
    kinds = [source for _, source in taken]
    assert kinds == [Source.INCOMING, Source.DEFERRED] * 6
    assert room.take(START, True, True) is None


def test_a_deferred_backlog_leaves_half_of_the_active_queue_to_new_mail():
    house = House(qmgr_message_active_limit=20)
    for n in range(100):
        entry = house.accept(b"a@d%d.test" % n)
        house.pump()
        house.agent.take_all()
        queue, delivery = house.agent.taken[0]
        house.agent.end(queue, delivery, Status.DEFERRED)
        house.agent.take_all()
    assert entry.next_try == START + 300
    house.advance(400)
    assert len(house.manager.active) == 10
    new = house.accept(b"new@new.test")
    assert new.message_id in house.manager.active


def test_no_timer_spins_when_the_active_queue_is_full():
    house = House(qmgr_message_active_limit=2)
    for n in range(50):
        house.accept(b"a@d%d.test" % n)
    runs = 0
    house.pump()
    while (due := house.manager.next_due()) < START + 200:
        house.now = max(house.now, due)
        house.manager.run(house.now)
        runs += 1
        assert runs < 10


class Watch:
    def __init__(self):
        self.wall, self.monotonic = START, 50.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, seconds):
        self.wall += seconds
        self.monotonic += seconds


def test_steady_clock_follows_the_wall_clock():
    watch = Watch()
    assert watch.clock() == START
    for _ in range(100):
        watch.pass_time(1.7)
        assert abs(watch.clock() - watch.wall) < 1e-6


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.sampled_from([0.0, -3600.0, 5 * 86400.0, 1.0])), max_size=30)
)
def test_steady_clock_never_jumps(steps):
    watch = Watch()
    before = watch.clock()
    for seconds, jump in steps:
        watch.wall += jump
        watch.pass_time(seconds)
        now = watch.clock()
        assert seconds * 0.9 - 1e-5 <= now - before <= seconds * 1.1 + 1e-5
        before = now


def test_steady_clock_comes_back_to_the_wall_clock():
    watch = Watch()
    watch.wall += 3600
    for _ in range(100):
        watch.pass_time(400)
        watch.clock()
    assert abs(watch.clock() - watch.wall) < 1e-6


def test_five_days_in_a_moment_return_nothing():
    watch = Watch()
    house = House()
    house.now = watch.clock()
    house.accept(b"a@one.test")
    house.pump()
    watch.wall += 5 * 86400
    watch.pass_time(10)
    house.now = watch.clock()
    house.agent.take_all()
    queue, delivery = house.agent.taken[0]
    house.agent.end(queue, delivery, Status.DEFERRED)
    assert not house.notices
