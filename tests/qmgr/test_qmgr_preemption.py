"""Small mail passes big mail: what SCHEDULER_README promises, and what it costs the big one."""

import itertools
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qmgr_parts import House

from fastrelay.borders import Status
from fastrelay.qmgr.line import Line
from reference import line_reference


class Place:
    """A transport, as far as a line looks at it."""

    def __init__(self, cost=5, loan=3, discount=50, minimum=3):
        self.now = 0.0
        self.settings = SimpleNamespace(
            delivery_slot_cost=cost,
            delivery_slot_loan=loan,
            delivery_slot_discount=discount,
            minimum_delivery_slots=minimum,
        )

    def clock(self):
        return self.now


class Item:
    def __init__(self, name, since=0.0):
        self.name, self.since = name, since

    def waiting_since(self):
        return self.since


def stand(line, name, count, since=0.0):
    line.push_job([Item(name, since) for _ in range(count)], since)


def order(line):
    return "".join(line.pop().name for _ in range(line.waiting))


def sequence(*sizes, **settings):
    """In what order jobs 1, 2, ... of these sizes leave, that came at once."""
    line = Line(Place(**settings))
    for number, size in enumerate(sizes, 1):
        stand(line, str(number), size)
    return order(line)


def test_the_readme_without_a_loan():
    assert sequence(10, 2, 2, cost=2, loan=0, discount=0) == "11112211113311"


def test_the_readme_with_half_of_the_slots_lent():
    assert sequence(10, 2, 2, cost=2, loan=0, discount=50) == "11221111331111"


@pytest.mark.parametrize("cost", [0, 1])
def test_no_preemption(cost):
    assert sequence(20, 1, 2, cost=cost) == "1" * 20 + "233"


@pytest.mark.parametrize(
    ("cost", "expected"),
    [(2, "1121131141111111"), (3, "1112111311141111"), (5, "1111121111131114")],
)
def test_each_single_costs_so_many_deliveries(cost, expected):
    """With a loan of nothing each one that passes has been paid for."""
    got = sequence(13, 1, 1, 1, cost=cost, loan=0, discount=0, minimum=1)
    assert got == expected


def test_a_loan_lets_the_first_one_pass_at_once_and_is_paid_back():
    assert sequence(20, 1, 1, cost=5, loan=1, discount=0) == "12111113" + "1" * 14
    assert sequence(20, 1, 1, cost=5, loan=0, discount=0) == "11111211111311111" + "1" * 5


def test_a_discount_is_of_what_the_other_needs():
    assert sequence(40, 4, cost=5, loan=0, discount=0).index("2") == 20
    assert sequence(40, 4, cost=5, loan=0, discount=50).index("2") == 10
    assert sequence(40, 4, cost=5, loan=0, discount=75).index("2") == 5
    assert sequence(40, 4, cost=5, loan=1, discount=50).index("2") == 5
    assert sequence(40, 4, cost=5, loan=0, discount=100).index("2") == 1


def test_minimum_slots():
    assert sequence(14, 1, minimum=3) == "1" * 14 + "2"
    assert sequence(15, 1, minimum=3).index("2") == 1
    assert sequence(14, 1, minimum=2).index("2") == 1


def test_what_can_never_be_earned_does_not_pass():
    assert sequence(30, 7, 6, loan=100) == "1" + "3" * 6 + "1" * 29 + "2" * 7


@pytest.mark.parametrize(("since", "first"), [(8.0, "3"), (9.0, "2")])
def test_the_one_that_waited_longest_for_each_of_its_items_passes(since, first):
    """Four items for 10 seconds: more than one item for 1, less than one for 2 (a second is added to each)."""
    place = Place(loan=100)
    line = Line(place)
    place.now = 10.0
    stand(line, "1", 100)
    stand(line, "2", 4)
    stand(line, "3", 1, since)
    stand(line, "4", 1, place.now)
    assert order(line)[1] == first


def test_one_that_passed_may_be_passed():
    """A thousand, a hundred, ten, one: each passes the one before it, which waits on the stack."""
    line = Line(Place(loan=0, discount=0))
    stand(line, "1", 1000)
    stand(line, "2", 100)
    for _ in range(500):
        assert line.pop().name == "1"
    assert [line.pop().name for _ in range(50)] == ["2"] * 50
    stand(line, "3", 10)
    assert [line.pop().name for _ in range(5)] == ["3"] * 5
    stand(line, "4", 1)  # ten items cannot earn the minimum of three: it has to wait for them
    assert [line.pop().name for _ in range(5)] == ["3"] * 5
    rest = order(line)
    assert rest == "2" * 5 + "4" + "2" * 45 + "1" * 500


@given(
    sizes=st.lists(st.sampled_from([1, 1, 1, 2, 3, 5, 8, 20, 60, 200]), min_size=1, max_size=30),
    cost=st.integers(2, 8),
    loan=st.integers(0, 20),
    discount=st.integers(0, 100),
    minimum=st.integers(0, 4),
)
def test_nobody_is_delayed_beyond_the_promise(sizes, cost, loan, discount, minimum):
    """Whatever comes behind a job, it ends within cost / (cost - 1) of its own time; each job keeps its order."""
    line = Line(Place(cost=cost, loan=loan, discount=discount, minimum=minimum))
    for number, size in enumerate(sizes):
        line.push_job([Item((number, n)) for n in range(size)], 0.0)
    left = [line.pop().name for _ in range(line.waiting)]
    assert sorted(left) == [(number, n) for number, size in enumerate(sizes) for n in range(size)]
    assert [n for number, n in left if number == 0] == list(range(sizes[0]))
    ends = max(position for position, (number, _) in enumerate(left, 1) if number == 0)
    assert ends <= sizes[0] * cost / (cost - 1) + 1e-9


@given(
    data=st.data(),
    cost=st.integers(0, 6),
    loan=st.integers(0, 5),
    discount=st.sampled_from([0, 25, 50, 100]),
    minimum=st.integers(0, 3),
)
def test_line_and_its_twin_agree(data, cost, loan, discount, minimum):
    place = Place(cost, loan, discount, minimum)
    line, twin = Line(place), line_reference.Line(cost, loan, discount, minimum)
    names = itertools.count()
    for _ in range(data.draw(st.integers(1, 40))):
        match data.draw(st.sampled_from(["small", "small", "big", "pops", "time"])):
            case "time":
                place.now += data.draw(st.floats(0, 100))
            case "pops":
                for _ in range(min(line.waiting, data.draw(st.integers(1, 30)))):
                    assert line.pop() is twin.pop(place.now)
            case kind:
                size = data.draw(st.integers(1, 3) if kind == "small" else st.integers(2, 60))
                items = [Item(next(names), place.now) for _ in range(size)]
                line.push_job(items, place.now)
                twin.push(items, place.now)
        assert line.waiting == sum(len(job.items) for job in twin.jobs)
        assert line.messages() == len(twin.jobs)
        if twin.jobs:
            assert line.waiting_since() == min(job.since for job in twin.jobs)
    while line.waiting:
        assert line.pop() is twin.pop(place.now)
    assert not twin.jobs


def test_what_is_over_leaves_the_line():
    line = Line(Place())
    for name, count in ("a", 1), ("b", 20), ("c", 1), ("d", 20), ("e", 2):
        stand(line, name, count)
    assert "".join(line.pop().name for _ in range(4)) == "abcb"
    gone = [item.name for item in line.expel(lambda item: item.name in "bd")]
    assert gone == ["b"] * 18 + ["d"] * 20
    assert (line.waiting, line.messages(), order(line)) == (2, 1, "ee")


# -- in the queue manager ----------------------------------------------------------------------------

LIST, SINGLES = 10_000, 100


def addresses(one_domain):
    return [b"u%d@%s.test" % (n, b"one" if one_domain else b"d%d" % n) for n in range(LIST)]


def take_in_every_slot(house):
    """No slot has a delivery; afterwards each has one."""
    house.pump()
    while idle := house.agent.slots[len(house.agent.taken) :]:
        for queue in idle:
            if house.agent.take(queue) is None:
                house.agent.close_slot(queue)
        house.pump()


def delays_of_singles(*, one_domain, cost, **around):
    """(mean, longest) delay of the singles and the end of the list, in seconds; each delivery takes one."""
    around["transport"] = {**around["transport"], "delivery_slot_cost": cost}
    house = House(qmgr_message_recipient_limit=2 * LIST, **around)
    mailing = house.accept(*addresses(one_domain))
    take_in_every_slot(house)
    late = [house.accept(b"v%d@%s.test" % (n, b"one" if one_domain else b"s%d" % n)) for n in range(SINGLES)]
    begin, ends = house.now, {}
    while house.manager.active:
        house.now += 1.0
        under_way = [delivery.message.entry for _, delivery in house.agent.taken]
        assert len(under_way) <= 5
        house.agent.succeed_all()
        ends.update((entry, house.now) for entry in under_way)
        take_in_every_slot(house)
    assert len(house.outcomes) == LIST + SINGLES
    assert {outcome.status for _, outcome in house.outcomes} == {Status.SENT}
    delays = [ends[entry] - begin for entry in late]
    return statistics.mean(delays), max(delays), ends[mailing] - begin


ONE_DESTINATION = {
    "one_domain": True,
    "transport": {"destination_recipient_limit": 2, "destination_concurrency_limit": 5},
}
MANY_DESTINATIONS = {"one_domain": False, "transport": {}, "process_limit": 5}
RECIPIENTS_APART = {"one_domain": True, "transport": {"destination_recipient_limit": 1}, "process_limit": 5}


@pytest.mark.parametrize(
    ("around", "entries"),
    [(ONE_DESTINATION, LIST / 2), (MANY_DESTINATIONS, LIST), (RECIPIENTS_APART, LIST)],
    ids=["one destination", "many destinations", "a destination for each recipient"],
)
def test_singles_pass_a_list(around, entries):
    """Of every cost + 1 deliveries one is a single's: they are through after (cost + 1) * 100, the list loses 100."""
    mean, longest, end = delays_of_singles(cost=5, **around)
    old_mean, _, old_end = delays_of_singles(cost=0, **around)
    assert old_mean >= entries / 5 * 0.99  # FIFO: they wait for the whole list
    assert longest <= 6 * SINGLES / 5 * 1.05 + 5
    assert old_mean / mean >= entries / (6 * SINGLES / 2) * 0.95
    assert end <= old_end * 6 / 5


def served(house, count):
    """The next hops of the next deliveries, one at a time."""
    hops = []
    for _ in range(count):
        house.agent.succeed_all()
        take_in_every_slot(house)
        hops += [delivery.next_hop for _, delivery in house.agent.taken]
    return hops


def test_a_destination_of_a_list_that_gets_mail_of_its_own_passes_the_list():
    house = House(process_limit=1)
    house.accept(*(b"u@d%d.test" % n for n in range(50)))
    single = house.accept(b"v@d40.test")
    assert served(house, 5)[:2] == [b"d0.test", b"d40.test"]
    assert single.message_id not in house.manager.active
    rest = served(house, 100)
    assert sorted(rest) == sorted(b"d%d.test" % n for n in range(50) if n not in (0, 40, *range(1, 3)))


def test_one_message_to_few_domains_passes_a_list_as_one():
    """Three deliveries need three earned slots: ten deliveries more than a single needs."""
    house = House(process_limit=1, transport={"delivery_slot_loan": 0, "delivery_slot_discount": 0})
    house.accept(*(b"u@d%d.test" % n for n in range(50)))
    house.accept(b"v@x.test", b"v@y.test", b"v@z.test")
    hops = served(house, 53)
    assert hops[15:18] == [b"x.test", b"y.test", b"z.test"]
    assert hops[:15] + hops[18:] == [b"d%d.test" % n for n in range(50)]


def test_singles_at_a_list_s_destination_are_not_parked():
    """What keeps one destination's mail out of the active queue are its messages: a list is one."""
    house = House(transport={"destination_recipient_limit": 2, "destination_concurrency_limit": 1})
    house.accept(*(b"u%d@one.test" % n for n in range(5000)))
    single = house.accept(b"v@one.test")
    house.pump()
    assert single.message_id in house.manager.active
    served(house, 3)
    assert single.message_id not in house.manager.active


def test_a_retried_list_is_passed_too():
    house = House(process_limit=1, transport={"destination_recipient_limit": 1})
    mailing = house.accept(*(b"u%d@one.test" % n for n in range(50)))
    house.manager.requeue(mailing)
    house.advance(1)
    other = house.accept(b"v@one.test")
    served(house, 4)
    assert other.message_id not in house.manager.active and mailing.message_id in house.manager.active


def test_a_slot_that_was_closed_leaves_no_place_at_the_end_of_the_line():
    """Its destination's next message takes its turn like everybody's."""
    house = House(process_limit=1)
    house.accept(b"a@d.test")
    for n in range(5):
        house.accept(b"a@e%d.test" % n)
    assert served(house, 2) == [b"d.test", b"e0.test"]
    house.accept(b"b@d.test")
    for n in range(5):
        house.accept(b"a@f%d.test" % n)
    assert served(house, 5) == [b"e1.test", b"e2.test", b"e3.test", b"e4.test", b"d.test"]


def test_lines_do_not_grow_while_some_always_wait():
    house = House(process_limit=1)
    for n in range(3000):
        house.accept(b"a@d%d.test" % (n % 3))
        house.accept(b"a@e%d.test" % (n % 7))
        served(house, 1)
    transport = house.manager.scheduler.transport(b"smtp")
    assert len(transport.extra) + transport.first.waiting <= 20
    assert len(house.manager.active) > 2000
