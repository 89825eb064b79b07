"""Windows, dead destinations, turns: which slots open, and for whom."""

import itertools
import random

import pytest
from qmgr_parts import House, State

from fastrelay.borders import Status
from fastrelay.qmgr.settings import parse_feedback


def destination(house, next_hop=b"one.test"):
    return house.manager.scheduler.transport(b"smtp").destination(next_hop, b"")


def fill(house, count, domain=b"one.test"):
    return [house.accept(b"u%d@%s" % (n, domain)) for n in range(count)]


@pytest.mark.parametrize(
    ("text", "at_4"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("1/8", 0.125),
        ("1 / concurrency", 0.25),
        ("1/sqrt_concurrency", 0.5),
        ("0", 0),
    ],
)
def test_feedback_forms(text, at_4):
    assert parse_feedback(text).at(4) == at_4


@pytest.mark.parametrize("text", ["", "2", "-1", "x", "1/0", "1/x", "nan", "1/concurrency/2", "inf"])
def test_feedback_that_is_refused(text):
    assert parse_feedback(text) is None


def test_malformed_feedback_is_named_and_1_used():
    house = House(transport={"destination_concurrency_positive_feedback": "7"})
    house.accept(b"a@one.test")
    name = b"smtp_destination_concurrency_positive_feedback"
    assert b"warning: " + name + b": ignoring malformed or unreasonable feedback: 7" in house.lines


def test_a_burst_opens_the_initial_window_and_no_more():
    house = House()
    fill(house, 50)
    assert house.agent.opened == 0  # nothing before pump()
    house.pump()
    assert len(house.agent.slots) == 5


def test_a_transport_has_its_own_initial_concurrency():
    house = House(transport={"initial_destination_concurrency": 2})
    fill(house, 50)
    house.pump()
    assert len(house.agent.slots) == 2


def test_one_message_opens_one_slot():
    house = House()
    fill(house, 1)
    house.pump()
    house.manager.pump()
    assert len(house.agent.slots) == 1


@pytest.mark.parametrize(
    ("feedback", "windows"),
    [
        ("1", [10, 20, 20]),  # 5-10-20: doubles with each pseudo-cohort
        ("1/concurrency", [6, 7, 8]),  # one more each pseudo-cohort
    ],
)
def test_positive_feedback(feedback, windows):
    house = House(transport={"destination_concurrency_positive_feedback": feedback})
    fill(house, 200)
    house.now += 1
    house.pump()
    for window in windows:
        cohort = house.agent.slots[: destination(house).window]
        for queue in cohort:
            house.agent.take(queue)
        house.now += 1.0
        for queue, delivery in list(house.agent.taken):
            queue.succeeded()
            house.agent.end(queue, delivery)
            house.pump()
        assert destination(house).window == window
        assert len(house.agent.slots) == window


def test_growth_stays_near_the_concurrency_in_use():
    house = House()
    fill(house, 1)
    house.pump()
    queue = house.agent.slots[0]
    for _ in range(100):
        queue.succeeded()
    assert destination(house).window == 6  # one slot in use and a margin of the initial 5


def test_negative_feedback_steps_down_at_the_start_of_the_cycle():
    house = House(
        transport={
            "destination_concurrency_negative_feedback": "1/concurrency",
            "destination_concurrency_failed_cohort_limit": 100,
        }
    )
    fill(house, 100)
    house.pump()
    windows = []
    for _ in range(8):
        queue = house.agent.slots[0]
        house.agent.fail(queue, house.agent.take(queue))
        house.agent.close_slot(queue)
        house.pump()
        windows.append(destination(house).window)
    # Down at the first failure, then after 1/f(4) more, then after 1/f(3) more.
    assert windows == [4, 4, 4, 4, 3, 3, 3, 2]


def test_zero_feedback_and_no_cohort_limit_are_immune():
    house = House(
        transport={
            "destination_concurrency_negative_feedback": "0",
            "destination_concurrency_failed_cohort_limit": 0,
        }
    )
    fill(house, 1)
    for _ in range(50):
        house.pump()
        destination(house).failed(None)
    assert destination(house).window == 5 and destination(house).reason is None


def kill(house, next_hop=b"one.test"):
    while destination(house, next_hop).reason is None:
        house.pump()
        queue = next(queue for queue in house.agent.slots if queue.next_hop == next_hop)
        house.agent.fail(queue, house.agent.take(queue))
        house.agent.close_slot(queue)
    for queue in [queue for queue in house.agent.slots if queue.next_hop == next_hop]:
        assert queue.take() is None
        house.agent.close_slot(queue)


def test_dead_destination_defers_what_waits_with_postfix_s_text():
    house = House()
    entries = fill(house, 1000)
    kill(house)
    assert len(house.outcomes) == 4  # 1/5 + 1/4 + 1/3 + 1/2 of a cohort
    house.pump()
    assert len(house.outcomes) == 1000 and not house.manager.active
    _, outcome = house.outcomes[-1]
    assert (outcome.status, outcome.dsn, outcome.relay) == (Status.DEFERRED, b"4.4.1", b"none")
    assert outcome.text == b"delivery temporarily suspended: connection refused"
    assert {entry.state for entry in entries} == {State.DEFERRED}


def test_refusals_come_in_portions():
    house = House()
    fill(house, 1000)
    kill(house)
    before = len(house.outcomes)
    house.manager.pump()
    assert 0 < len(house.outcomes) - before <= 200


def test_mail_for_a_dead_destination_is_not_tried_until_one_probe():
    house = House()
    fill(house, 6)
    kill(house)
    opened = house.agent.opened
    house.advance(200)
    fill(house, 20)
    house.advance(99)
    assert house.agent.opened == opened and not house.manager.active
    house.advance(2)
    fill(house, 20)
    house.pump()
    assert house.agent.opened == opened + 1  # a single probe
    queue = house.agent.slots[0]
    house.agent.fail(queue, house.agent.take(queue))
    house.agent.close_slot(queue)
    house.pump()
    assert house.agent.opened == opened + 1 and not house.manager.active


def test_revived_destination_ramps_up():
    house = House()
    fill(house, 5)
    kill(house)
    house.now += 301
    fill(house, 100)
    sizes = []
    for _ in range(4):
        house.pump()
        house.agent.take_all()
        sizes.append(len(house.agent.slots))
        house.now += 1
        house.agent.succeed_all()
    assert sizes == [1, 2, 4, 8]


def test_late_success_revives():
    house = House()
    fill(house, 10)
    house.pump()
    late = house.agent.slots[0]
    delivery = house.agent.take(late)
    for queue in list(house.agent.slots[1:]):
        other = house.agent.take(queue)
        if other:
            house.agent.fail(queue, other)
        house.agent.close_slot(queue)
    house.pump()
    assert destination(house).reason is not None
    late.succeeded()
    house.agent.end(late, delivery)
    assert destination(house).reason is None and destination(house).window == 1


def test_flush_gives_a_dead_destination_a_probe():
    house = House()
    fill(house, 10)
    kill(house)
    house.pump()
    opened = house.agent.opened
    house.manager.flush()
    house.advance(1)
    assert house.agent.opened == opened + 1


def test_slots_of_a_transport_go_round():
    house = House(process_limit=10)
    fill(house, 100, b"hog.test")
    house.pump()
    assert len(house.agent.slots) == 5
    for n in range(30):
        fill(house, 3, b"d%d.test" % n)
    served = set()
    for _ in range(80):
        house.pump()
        assert len(house.agent.slots) <= 10
        house.agent.take_all()
        served.update(queue.next_hop for queue, _ in house.agent.taken)
        house.now += 0.1
        house.agent.succeed_all()
    assert len(served) == 31


def test_a_steady_hog_gives_its_slots_up_for_those_without():
    house = House(process_limit=4)
    fill(house, 4000, b"hog.test")
    house.pump()
    house.agent.take_all()
    assert len(house.agent.slots) == 4
    house.accept(b"a@small.test")
    house.agent.succeed_all()
    house.agent.take_all()
    house.pump()
    assert b"small.test" in {queue.next_hop for queue in house.agent.slots}


def test_equals_take_turns_by_count():
    house = House(process_limit=1)
    fill(house, 100, b"one.test")
    fill(house, 100, b"two.test")
    order = []
    while house.manager.active:
        house.pump()
        house.agent.take_all()
        order += [queue.next_hop for queue, _ in house.agent.taken]
        house.agent.succeed_all()
    assert len(order) == 200
    runs = [order[n : n + 20] for n in range(0, 200, 20)]
    assert all(len(set(run)) == 1 for run in runs)  # a connection is used for 20 before it changes hands
    assert [run[0] for run in runs[:4]] == [b"one.test", b"two.test", b"one.test", b"two.test"]


def test_fast_destination_gets_few_connections_and_more_when_they_stall():
    house = House()
    fill(house, 5)
    house.deliver_everything()  # in no time at all: fast
    fill(house, 16)
    house.pump()
    assert len(house.agent.slots) == 2
    house.agent.take_all()  # and now both hang
    house.advance(0.1)
    assert len(house.agent.slots) == 2
    house.advance(0.2)
    assert len(house.agent.slots) > 2


def test_rate_delay():
    house = House(transport={"destination_rate_delay": 10.0})
    fill(house, 4)
    times = []
    for _ in range(100):
        house.pump()
        house.agent.take_all()
        times += [house.now for _ in house.agent.taken]
        house.agent.succeed_all()
        house.advance(1.0)
    assert [b - a for a, b in itertools.pairwise(times)] == [10.0, 10.0, 10.0]


def test_release_twice_is_an_error():
    house = House()
    fill(house, 1)
    house.pump()
    queue = house.agent.slots[0]
    queue.release()
    with pytest.raises(RuntimeError):
        queue.release()


def test_agent_that_only_opens_and_releases_does_not_hang_the_loop():
    house = House()
    house.agent.open_slot = lambda queue: queue.release()
    fill(house, 3)
    house.manager.pump()
    assert house.pump_wanted


def test_a_thousand_destinations_of_which_fifty_are_slow():
    """Time steps of 0.1 s; slow ones take 30 s a delivery, the others one step."""
    house = House(process_limit=100, qmgr_message_active_limit=20000)
    chance = random.Random(7)
    ends, fast_done, fast_last = {}, 0, 0.0
    for _ in range(10):
        for n in range(1000):
            house.accept(b"a@%s%d.test" % (b"slow" if n < 50 else b"fast", n))
    start = house.now
    for _ in range(600):
        house.pump()
        for queue in list(house.agent.slots):
            delivery = house.agent.take(queue)
            house.agent.slots.remove(queue)
            if delivery is None:
                queue.release()
            else:
                slow = queue.next_hop.startswith(b"slow")
                ends[(queue, delivery)] = house.now + (30.0 if slow else 0.1 * chance.random())
        house.now += 0.1
        for (queue, delivery), end in list(ends.items()):
            if end <= house.now:
                del ends[(queue, delivery)]
                queue.succeeded()
                house.agent.end(queue, delivery)
                house.agent.slots.append(queue)
                if queue.next_hop.startswith(b"fast"):
                    fast_done += 1
                    fast_last = house.now
        if fast_done == 9500:
            break
    # 50 slots stay for the fast ones: 9,500 deliveries at 500 a second or better.
    assert fast_done == 9500
    assert fast_last - start < 9500 / 500 * 1.1


def test_parking_keeps_room_for_others():
    house = House(qmgr_message_active_limit=100)
    for n in range(500):
        house.accept(b"u%d@hog.test" % n)
    assert len(house.manager.active) <= 76
    small = house.accept(b"a@small.test")
    house.pump()
    assert small.message_id in house.manager.active
    assert b"small.test" in {queue.next_hop for queue in house.agent.slots}
    house.deliver_everything()
    house.advance(30)
    house.deliver_everything()
    assert not house.spool.entries


def test_parked_mail_of_a_destination_that_dies_is_deferred():
    house = House(qmgr_message_active_limit=40)
    entries = fill(house, 300)
    kill(house)
    house.advance(1)
    assert {entry.state for entry in entries} == {State.DEFERRED}
    assert not house.manager.active


def test_a_slot_closed_without_a_take_is_opened_again():
    house = House()
    fill(house, 1)
    for _ in range(3):
        house.pump()
        (queue,) = house.agent.slots
        house.agent.close_slot(queue)
    assert house.agent.opened == 3


def test_room_in_the_active_queue_wakes_what_waits():
    house = House(qmgr_message_active_limit=4)
    for n in range(8):
        house.accept(b"a@d%d.test" % n)
    house.pump()
    house.manager.next_due()
    house.agent.take_all()
    assert not house.pump_wanted
    queue, delivery = house.agent.taken[0]
    house.agent.end(queue, delivery)
    assert house.pump_wanted


def test_a_destination_may_get_mail_after_it_was_forgotten():
    """A message that is long under way elsewhere parks its rest there: the name has a successor by then."""
    house = House()
    transport = house.manager.scheduler.transport(b"smtp")
    old = transport.destination(b"one.test", b"a@one.test")
    transport.forget_idle(house.now + 1000, 300)
    new = transport.destination(b"one.test", b"a@one.test")
    transport.note_idle(old)
    assert new is not old and set(transport.idle) == {new, old}
    transport.forget_idle(house.now + 2000, 300)
    assert not transport.idle and not transport.destinations


def test_ever_new_destinations_do_not_pile_up_between_two_queue_runs():
    """Mail to a new domain, or to a new user with local(8), each time: what each learnt costs 2 KB."""
    house = House(qmgr_message_recipient_limit=100)
    transport = house.manager.scheduler.transport(b"smtp")
    for n in range(1000):
        house.accept(b"a@d%d.test" % n)
        house.pump()
        house.agent.succeed_all()
        (queue,) = house.agent.slots
        house.agent.take(queue)
        house.agent.succeed_all()
        house.agent.close_slot(queue)
        assert len(transport.destinations) <= 130
    assert len(house.outcomes) == 1000 and b"d999.test" in transport.destinations
