"""A message's way through the queue manager: sent, deferred, bounced, expired, removed."""

from qmgr_parts import START, House, State, make_settings

from fastrelay.borders import Route, Status


def finish(house, status=Status.SENT):
    house.pump()
    house.agent.take_all()
    for queue, delivery in list(house.agent.taken):
        house.agent.end(queue, delivery, status)
    house.agent.take_all()
    house.pump()


def test_sent_at_once():
    house = House()
    entry = house.accept(b"a@one.test")
    house.pump()
    house.agent.take_all()
    ((queue, delivery),) = house.agent.taken
    assert (delivery.transport, delivery.next_hop, delivery.addresses) == (
        b"smtp",
        b"one.test",
        [b"a@one.test"],
    )
    assert delivery.message.content == [b"in memory\r\n"] and delivery.message.queue_id == b"Q1"
    assert delivery.started == START
    house.agent.end(queue, delivery)
    assert entry.state is State.DONE
    assert house.lines == [b"Q1: from=<s@x.test>, size=100, nrcpt=1 (queue active)", b"Q1: removed"]
    assert not house.manager.active and house.spool.reads == 0
    assert [(a, o.status) for a, o in house.outcomes] == [(b"a@one.test", Status.SENT)]


def test_deferred_is_tried_again_when_due_and_not_before():
    house = House()
    entry = house.accept(b"a@one.test")
    finish(house, Status.DEFERRED)
    assert entry.state is State.DEFERRED and entry.next_try == START + 300
    assert not house.manager.active
    house.advance(299)
    assert not house.agent.slots
    house.advance(1)
    house.agent.take_all()
    ((_, delivery),) = house.agent.taken
    assert delivery.message.content is None and delivery.message.load() == [b"stored\r\n"]
    finish(house)
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_bounced_message_stays_until_its_notice_is_safe():
    house = House()
    house.settle_at_once = False
    entry = house.accept(b"a@one.test")
    finish(house, Status.BOUNCED)
    ((message, failed),) = house.notices
    assert [(i, o.dsn) for i, o in failed] == [(0, b"5.1.1")]
    assert house.manager.active and "removed" not in house.logged
    house.settle(message)
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_soft_bounce_defers():
    house = House(soft_bounce=True)
    entry = house.accept(b"a@one.test")
    finish(house, Status.BOUNCED)
    assert entry.state is State.DEFERRED and not house.notices
    assert [(o.status, o.dsn) for _, o in house.outcomes] == [(Status.DEFERRED, b"4.1.1")]


def test_one_message_with_every_verdict():
    house = House()
    entry = house.accept(b"a@one.test", b"b@two.test", b"c@three.test")
    house.pump()
    house.agent.take_all()
    verdicts = {b"one.test": Status.SENT, b"two.test": Status.BOUNCED, b"three.test": Status.DEFERRED}
    for queue, delivery in list(house.agent.taken):
        house.agent.end(queue, delivery, verdicts[queue.next_hop])
    ((_, failed),) = house.notices
    assert [i for i, _ in failed] == [1]
    assert entry.pending_recipients() == [2] and entry.next_try == START + 300
    house.agent.take_all()
    house.advance(300)
    house.agent.take_all()
    assert [d.addresses for _, d in house.agent.taken] == [[b"c@three.test"]]
    assert house.lines[-1] == b"Q1: from=<s@x.test>, size=100, nrcpt=3 (queue active)"


def test_expiry_returns_to_sender():
    house = House(maximal_queue_lifetime=1000.0)
    entry = house.accept(b"a@one.test")
    for _ in range(3):
        finish(house, Status.DEFERRED)
        house.advance(600)
    finish(house, Status.DEFERRED)
    assert b"Q1: from=<s@x.test>, status=expired, returned to sender" in house.lines
    ((_, failed),) = house.notices
    assert failed[0][1].status is Status.EXPIRED and failed[0][1].dsn == b"4.2.0"
    # The log says deferred for the last try too, as Postfix's does.
    assert {o.status for _, o in house.outcomes} == {Status.DEFERRED}
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_null_sender_has_its_own_lifetime_and_0_is_one_try():
    house = House(bounce_queue_lifetime=0.0)
    house.accept(b"a@one.test", sender=b"")
    house.accept(b"b@one.test")
    finish(house, Status.DEFERRED)
    assert b"Q1: from=<>, status=expired, returned to sender" in house.lines
    assert "Q2: from=<s@x.test>, status=expired" not in house.logged


def test_expiry_while_nobody_takes_it():
    house = House(maximal_queue_lifetime=10_000.0)
    house.accept(b"a@one.test")
    house.pump()  # a slot is opened, and hangs
    house.advance(9_999)
    assert not house.notices
    house.advance(600)
    ((_, failed),) = house.notices
    assert failed[0][1].status is Status.EXPIRED


def test_recipients_are_grouped_and_split():
    house = House(transport={"destination_recipient_limit": 2})
    house.accept(b"a@one.test", b"b@two.test", b"c@one.test", b"d@one.test")
    house.pump()
    house.agent.take_all()
    groups = sorted((d.recipients, d.addresses) for _, d in house.agent.taken)
    assert groups == [
        ([0, 2], [b"a@one.test", b"c@one.test"]),
        ([1], [b"b@two.test"]),
        ([3], [b"d@one.test"]),
    ]


def test_with_one_recipient_a_delivery_the_destination_is_the_recipient():
    house = House(transport={"destination_recipient_limit": 1, "destination_concurrency_limit": 2})
    for _ in range(6):
        house.accept(b"a@one.test", b"b@one.test")
    house.pump()
    house.agent.take_all()
    assert sorted(d.addresses[0] for _, d in house.agent.taken) == [b"a@one.test"] * 2 + [b"b@one.test"] * 2


def test_resolver_failure_defers_that_recipient_alone():
    house = House()
    house.broken.add(b"b@two.test")
    entry = house.accept(b"a@one.test", b"b@two.test")
    finish(house)
    outcome = dict(house.outcomes)[b"b@two.test"]
    assert (outcome.dsn, outcome.text, outcome.relay) == (b"4.3.0", b"address resolver failure", b"none")
    assert entry.pending_recipients() == [1]


def test_unknown_transport_defers_and_warns_once_a_while():
    house = House()
    house.routes[b"a@one.test"] = Route(b"uucp", b"x", b"a@one.test")
    for _ in range(3):
        house.accept(b"a@one.test")
    assert [o.text for _, o in house.outcomes] == [b"mail transport unavailable"] * 3
    warnings = [line for line in house.lines if line.startswith(b"warning")]
    assert warnings == [b"warning: connect to transport private/uucp: No such file or directory"]


def test_defer_transports_waits_for_a_flush():
    house = House(defer_transports=("smtp",))
    house.accept(b"a@one.test")
    house.advance(301)
    assert {o.text for _, o in house.outcomes} == {b"deferred transport"} and not house.agent.slots
    house.manager.flush()
    house.advance(1)
    assert house.agent.slots


def test_flush_makes_everything_due_once():
    house = House()
    entries = [house.accept(b"a@d%d.test" % n) for n in range(20)]
    finish(house, Status.DEFERRED)
    house.manager.flush()
    house.advance(1)
    house.deliver_everything()
    assert all(entry.state is State.DONE for entry in entries)
    house.advance(10_000)
    assert len(house.outcomes) == 40


def test_flush_one_and_flush_site():
    house = House()
    first = house.accept(b"a@one.test")
    second = house.accept(b"a@two.test")
    third = house.accept(b"a@Three.test")
    finish(house, Status.DEFERRED)
    house.manager.flush_one(second)
    house.advance(1)
    house.deliver_everything()
    assert second.state is State.DONE and first.state is third.state is State.DEFERRED
    house.manager.flush_site(b"three.TEST")
    house.advance(1)
    house.deliver_everything()
    assert third.state is State.DONE and first.state is State.DEFERRED


def test_hold_while_one_delivery_is_under_way():
    house = House(transport={"destination_recipient_limit": 1, "destination_concurrency_limit": 1})
    entry = house.accept(b"a@one.test", b"b@two.test", b"c@three.test")
    house.pump()
    queue = house.agent.slots[0]
    delivery = house.agent.take(queue)
    house.manager.hold(entry)
    house.agent.take_all()
    assert len(house.agent.taken) == 1  # the others were dropped
    house.manager.release(entry)
    house.advance(1)
    assert len(house.agent.taken) == 1  # not yet: the first one is still under way
    house.agent.end(queue, delivery)
    house.advance(1)
    house.agent.take_all()
    assert sorted(d.addresses[0] for _, d in house.agent.taken) == [b"b@two.test", b"c@three.test"]
    house.deliver_everything()
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_delete_while_active():
    house = House()
    entry = house.accept(b"a@one.test")
    house.pump()
    house.manager.delete(entry)
    house.agent.take_all()
    assert not house.agent.taken and not house.agent.slots and not house.manager.active


def test_delete_while_under_way_records_nothing():
    house = House()
    entry = house.accept(b"a@one.test")
    house.pump()
    house.agent.take_all()
    house.manager.delete(entry)
    ((queue, delivery),) = house.agent.taken
    house.agent.end(queue, delivery)  # the recording spool would refuse an outcome for it
    assert len(house.outcomes) == 1 and not house.manager.active


def test_requeue_resolves_again():
    house = House()
    entry = house.accept(b"a@one.test")
    house.pump()
    house.routes[b"a@one.test"] = Route(b"smtp", b"elsewhere.test", b"a@one.test")
    house.manager.requeue(entry)
    house.advance(1)
    house.agent.take_all()
    assert [d.next_hop for _, d in house.agent.taken] == [b"elsewhere.test"]


def test_failed_recipients_found_at_start_get_their_notice():
    house = House()
    house.settle_at_once = False
    house.accept(b"a@one.test", b"b@one.test")
    finish(house, Status.BOUNCED)
    again = House(spool=house.spool)  # the process died before the notice was queued
    again.manager.recovered(again.spool.entries.values())
    again.advance(1)
    ((_, failed),) = again.notices
    assert [i for i, _ in failed] == [0, 1] and not again.agent.slots
    assert not again.spool.entries


def test_contents_beyond_the_memory_limit_are_read_back():
    house = House(fastrelay_content_memory_limit=250)
    for _ in range(4):
        house.accept(b"a@one.test")
    kept = [message.content is not None for message in house.manager.active.values()]
    assert kept == [True, True, False, False]
    house.deliver_everything()
    house.accept(b"a@one.test")
    assert [message.content is not None for message in house.manager.active.values()] == [True]


def test_requeue_waits_for_all_deliveries_under_way():
    house = House()
    entry = house.accept(b"a@one.test", b"b@two.test", b"c@three.test")
    house.pump()
    house.agent.take_all()
    house.manager.requeue(entry)
    for queue, delivery in list(house.agent.taken):
        assert entry.message_id in house.manager.active
        house.agent.end(queue, delivery, Status.DEFERRED)
        house.agent.close_slot(queue)
        house.advance(0.001)
    house.agent.take_all()
    assert sorted(d.recipients for _, d in house.agent.taken) == [[0], [1], [2]]


def test_an_entry_that_cannot_be_read_is_left_to_the_queue():
    house = House()
    broken, good = house.accept(b"a@one.test"), house.accept(b"b@two.test")
    finish(house, Status.DEFERRED)
    house.spool.damaged.add(broken.message_id)
    house.advance(301)
    house.deliver_everything()
    assert good.state is State.DONE and not house.manager.active


def test_pause_stops_deliveries_and_resumes():
    house = House()
    house.accept(b"a@one.test")
    house.pump()
    house.manager.pause(True)
    house.agent.take_all()  # the open slot gets nothing
    house.accept(b"b@two.test")
    house.advance(50)
    assert house.manager.next_due() is None
    assert not house.agent.slots and not house.agent.taken
    house.manager.pause(False)
    house.deliver_everything()
    assert not house.spool.entries


def test_reconfigured_while_active():
    house = House(qmgr_message_active_limit=100)
    entries = [house.accept(b"a@one.test") for _ in range(30)]
    house.pump()
    house.values["destination_concurrency_limit"] = 2
    settings = make_settings(soft_bounce=True, qmgr_message_active_limit=80, defer_transports=("smtp",))
    house.manager.reconfigure(settings, house.manager._around)
    house.agent.take_all()
    house.pump()
    assert len(house.agent.slots) <= 2
    house.accept(b"b@one.test")
    assert house.outcomes[-1][1].text == b"deferred transport"
    house.deliver_everything()
    assert {entry.state for entry in entries} == {State.DONE}
