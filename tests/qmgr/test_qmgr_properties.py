"""Whatever agents, operators and time do: no delivery is lost, none is made twice, and limits hold."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from qmgr_parts import House, State

from fastrelay.borders import Outcome, Status

DOMAINS = [b"one.test", b"two.test", b"three.test", b"four.test"]
LIMIT = 6
SLOTS = 3


class Machine(RuleBasedStateMachine):
    @initialize(
        recipient_limit=st.sampled_from([1, 2, 50]),
        rate_delay=st.sampled_from([0.0, 0.0, 5.0]),
        soft_bounce=st.booleans(),
        jitter=st.integers(0, 100),
        lifetime=st.sampled_from([20_000.0, 1e9]),
        cost=st.sampled_from([0, 2, 5]),
        minimum=st.sampled_from([0, 3]),
    )
    def build(self, recipient_limit, rate_delay, soft_bounce, jitter, lifetime, cost, minimum):
        self.house = House(
            transport={
                "destination_recipient_limit": recipient_limit,
                "destination_rate_delay": rate_delay,
                "delivery_slot_cost": cost,
                "minimum_delivery_slots": minimum,
            },
            process_limit=SLOTS,
            qmgr_message_active_limit=LIMIT,
            qmgr_message_recipient_limit=40,
            qmgr_message_recipient_minimum=3,
            maximal_queue_lifetime=lifetime,
            soft_bounce=soft_bounce,
            fastrelay_retry_jitter=jitter,
        )
        self.house.settle_at_once = False
        self.entries = []

    @rule(users=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(DOMAINS)), min_size=1, max_size=4))
    def accept(self, users):
        recipients = list(dict.fromkeys(b"u%d@%s" % user for user in users))
        self.entries.append(self.house.accept(*recipients))

    @rule(count=st.integers(5, 30), domains=st.lists(st.sampled_from(DOMAINS), min_size=1))
    def accept_list(self, count, domains):
        """One that others may pass."""
        recipients = [b"u%d@%s" % (n, domains[n % len(domains)]) for n in range(count)]
        self.entries.append(self.house.accept(*recipients))

    @rule(domain=st.sampled_from(DOMAINS))
    def break_table(self, domain):
        self.house.broken ^= {b"u0@" + domain}

    @rule()
    def pump(self):
        self.house.pump()

    @rule(seconds=st.sampled_from([0.1, 3.0, 61.0, 400.0, 5000.0]), randomness=st.floats(0, 1))
    def advance(self, seconds, randomness):
        self.house.randomness = randomness
        self.house.advance(seconds)

    @precondition(lambda self: self.house.agent.slots or self.house.pump_wanted)
    @rule(data=st.data())
    def take(self, data):
        self.house.pump()
        if not self.house.agent.slots:
            return
        queue = data.draw(st.sampled_from(self.house.agent.slots))
        if self.house.agent.take(queue) is None:
            self.house.agent.close_slot(queue)

    @precondition(lambda self: self.house.agent.slots)
    @rule(data=st.data())
    def close_early(self, data):
        self.house.agent.close_slot(data.draw(st.sampled_from(self.house.agent.slots)))

    @precondition(lambda self: self.house.agent.taken)
    @rule(data=st.data())
    def report(self, data):
        queue, delivery = data.draw(st.sampled_from(self.house.agent.taken))
        kinds = [(Status.SENT, b"2.0.0"), (Status.DEFERRED, b"4.0.0"), (Status.BOUNCED, b"5.0.0")]
        outcomes = []
        for index in delivery.recipients:
            status, code = data.draw(st.sampled_from(kinds))
            outcomes.append(Outcome(index, status, code, b"text"))
        succeeded = data.draw(st.booleans())
        self.house.agent.taken.remove((queue, delivery))  # after the last draw, which may end the example
        if succeeded:
            queue.succeeded()
        self.house.manager.report(delivery, outcomes)

    @precondition(lambda self: self.house.agent.taken)
    @rule(data=st.data())
    def connection_fails(self, data):
        self.house.agent.fail(*data.draw(st.sampled_from(self.house.agent.taken)))

    @precondition(lambda self: self.house.notices)
    @rule()
    def notice_is_queued(self):
        message, _ = self.house.notices.pop(0)
        self.settle(message)

    def settle(self, message):
        if message.entry.state is not State.DONE:
            self.house.spool.settle(message.entry, message.entry.failed_recipients())
        self.house.manager.settled(message)

    @precondition(lambda self: self.entries)
    @rule(
        data=st.data(), what=st.sampled_from(["delete", "expire", "hold", "release", "requeue", "flush_one"])
    )
    def operate(self, data, what):
        entry = data.draw(st.sampled_from(self.entries))
        if entry.state is State.DONE or (entry.state is State.HOLD) is not (what == "release"):
            return
        getattr(self.house.manager, what)(entry)

    @rule()
    def flush(self):
        self.house.manager.flush()

    @rule(domain=st.sampled_from(DOMAINS))
    def flush_site(self, domain):
        self.house.manager.flush_site(domain)

    @invariant()
    def nobody_is_served_twice(self):
        under_way = [
            (delivery.message.entry.message_id, index)
            for _, delivery in self.house.agent.taken
            for index in delivery.recipients
        ]
        assert len(under_way) == len(set(under_way))

    @invariant()
    def limits_hold(self):
        house = self.house
        assert len(house.agent.slots) <= SLOTS
        manager = house.manager
        active = manager.active.values()
        assert len(active) <= LIMIT
        assert manager._active.recipients == sum(
            message.total for message in active if len(message.envelope.recipients) > 3
        )
        assert manager._active.recipients < 40 + 30
        assert manager._active.retried == sum(message.retried for message in active)
        assert manager._active.content == sum(message.kept for message in active)
        for transport in manager.scheduler.transports():
            destinations = list(transport.destinations.values())
            assert transport.open_slots == sum(d.slots for d in destinations) == len(house.agent.slots)
            assert transport.slow_slots == sum(d.slots for d in destinations if d.slow)
            assert all(d.window >= 1 for d in destinations)
            waiting = [d for d in destinations if d.waiting() and not d.slots and not d.reason]
            assert all(d.in_first or house.now <= d.not_before for d in waiting)

    def teardown(self):
        """When the world is well again, everything that was not deleted or held gets out."""
        if not hasattr(self, "house"):
            return
        house = self.house
        house.broken.clear()
        for entry in self.entries:
            if entry.state is State.HOLD:
                house.manager.release(entry)
        for _ in range(2000):  # three slots, a recipient at a time, at worst
            if not house.spool.entries and not house.manager.active:
                break
            house.pump()
            house.agent.take_all()
            house.agent.succeed_all()
            while house.notices:
                self.settle(house.notices.pop(0)[0])
            house.advance(100.0)
        assert not house.spool.entries
        assert not house.manager.active


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
TestNothingIsLost = Machine.TestCase
