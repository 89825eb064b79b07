"""When the queue manager asks for a notice of success, of an expansion and of a delay (RFC 3461, qmgr(8))."""

from dataclasses import replace

import pytest
from qmgr_parts import House, State

from fastrelay.borders import Envelope, Notify, Outcome, Recipient, Status

OK = Outcome(0, Status.SENT, b"2.0.0", b"250 Ok", b"mx", action=b"relayed")
SUCCESS, DELAY, FAILURE, NEVER = Notify.SUCCESS, Notify.DELAY, Notify.FAILURE, Notify.NEVER


def accept(house, *notify, sender=b"s@x.test", **changes):
    recipients = [Recipient(b"u%d@one.test" % i, notify=int(each)) for i, each in enumerate(notify)]
    envelope = Envelope(sender, recipients, house.now, size=100, **changes)
    entry = house.spool.add(envelope)
    house.manager.accepted(entry, envelope, [b"in memory\r\n"])
    return entry


def finish(house, outcome):
    house.pump()
    house.agent.take_all()
    for queue, delivery in list(house.agent.taken):
        outcomes = [replace(outcome, recipient=index) for index in delivery.recipients]
        house.agent.taken.remove((queue, delivery))
        house.manager.report(delivery, outcomes)
    house.agent.take_all()
    house.pump()


DEFERRED = Outcome(0, Status.DEFERRED, b"4.2.0", b"busy")


@pytest.mark.parametrize(
    ("notify", "action", "told"),
    [
        ([SUCCESS], b"relayed", [0]),
        ([SUCCESS], b"", []),  # the next hop was asked to tell
        ([0], b"relayed", []),
        ([FAILURE | DELAY], b"relayed", []),
        ([NEVER], b"delivered", []),
        ([0, SUCCESS, NEVER, SUCCESS | FAILURE], b"delivered", [1, 3]),
    ],
)
def test_who_is_told_of_success(notify, action, told):
    house = House()
    entry = accept(house, *notify)
    finish(house, replace(OK, action=action))
    assert [[i for i, _ in due] for _, due in house.notices] == ([told] if told else [])
    assert all(outcome.notice and outcome.action == action for _, due in house.notices for _, outcome in due)
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_the_message_stays_until_its_notice_is_safe():
    house = House()
    house.settle_at_once = False
    entry = accept(house, SUCCESS)
    finish(house, OK)
    assert entry.state is not State.DONE and "removed" not in house.logged
    house.settle(house.notices[0][0])
    assert entry.state is State.DONE and house.lines[-1] == b"Q1: removed"


def test_failure_and_success_of_a_pass_are_told_together():
    house = House()
    accept(house, SUCCESS, 0)
    house.manager.scheduler.pump()
    house.pump()
    house.agent.take_all()
    ((_, delivery),) = house.agent.taken
    no = Outcome(1, Status.BOUNCED, b"5.1.1", b"no")
    house.manager.report(delivery, [replace(OK), no])
    ((_, due),) = house.notices
    assert [(i, o.status) for i, o in due] == [(0, Status.SENT), (1, Status.BOUNCED)]


def test_an_expansion_is_told_at_the_end_of_the_first_pass():
    house = House()
    alias = Recipient(b"list@x.test", notify=int(SUCCESS))
    accept(house, 0, expanded=(alias,))
    finish(house, DEFERRED)
    assert [due for _, due in house.notices] == [[]]
    house.advance(400)
    finish(house, OK)
    assert len(house.notices) == 1


def test_a_delay_is_told_once_and_not_before_its_time():
    house = House(delay_warning_time=1000.0)
    entry = accept(house, 0)
    finish(house, DEFERRED)
    assert not house.notices
    house.advance(400)
    finish(house, DEFERRED)
    assert not house.notices
    house.advance(700)
    finish(house, DEFERRED)
    assert [[o.recipient for o in late] for late in house.late] == [[0]]
    assert [due for _, due in house.notices] == [[]]
    entry.warned = True  # what the notice settles
    house.advance(4000)
    finish(house, DEFERRED)
    assert len(house.notices) == 1


@pytest.mark.parametrize(("sender", "after"), [(b"", 1.0), (b"s@x.test", 0.0)])
def test_a_delay_is_not_told(sender, after):
    """Of notices, and when main.cf does not ask for it."""
    house = House(delay_warning_time=after)
    accept(house, DELAY, sender=sender)
    for _ in range(3):
        finish(house, DEFERRED)
        house.advance(4000)
    assert not house.notices


@pytest.mark.parametrize("confirm", [True, False])
def test_the_end_of_a_delay_is_confirmed(confirm):
    house = House(delay_warning_time=1.0, confirm_delay_cleared=confirm)
    entry = accept(house, 0, DELAY, FAILURE, SUCCESS)
    finish(house, DEFERRED)
    entry.warned = True
    house.advance(400)
    finish(house, replace(OK, action=b""))
    assert [[i for i, _ in due] for _, due in house.notices] == ([[0, 1]] if confirm else [])
    assert entry.state is State.DONE


def test_what_expires_by_hand_goes_back_with_its_next_try():
    """For the reason of its last try; who had none yet is told that it was done by hand, and so is the log."""
    house = House()
    entry = accept(house, 0, FAILURE)
    finish(house, DEFERRED)
    house.manager.expire(entry)
    assert house.notices == []
    house.manager.flush()
    house.advance(1)
    ((message, due),) = house.notices
    assert message.entry is entry
    assert [(index, o.status, o.dsn, o.text) for index, o in due] == [
        (index, Status.EXPIRED, b"4.2.0", b"busy") for index in (0, 1)
    ]
    told = b"Q1: from=<s@x.test>, status=force-expired, returned to sender"
    assert house.lines[-3:] == [
        b"Q1: from=<s@x.test>, size=100, nrcpt=2 (queue active)",
        told,
        b"Q1: removed",
    ]
    assert len(house.outcomes) == 2

    other = accept(house, 0)
    house.manager.hold(other)
    house.manager.expire(other)
    house.manager.release(other)
    house.advance(1)
    _, ((index, outcome),) = house.notices[1]
    text = b"message is administratively expired"
    assert (index, outcome.status, outcome.dsn, outcome.text) == (0, Status.EXPIRED, b"4.7.0", text)
    ((address, logged),) = house.outcomes[2:]
    assert (address, logged.status, logged.text) == (b"u0@one.test", Status.DEFERRED, text)
    assert not house.manager.active


def test_what_is_under_way_may_still_be_delivered():
    house = House()
    sent, late = accept(house, 0), accept(house, 0)
    house.manager.expire(sent)
    house.manager.expire(late)
    house.pump()
    house.agent.take_all()
    outcomes = {sent: OK, late: DEFERRED}
    for queue, delivery in list(house.agent.taken):
        house.agent.taken.remove((queue, delivery))
        house.manager.report(delivery, [outcomes[delivery.message.entry]])
    assert sent.state is State.DONE and late.state is State.DONE
    assert [(message.entry, due[0][1].text) for message, due in house.notices] == [(late, b"busy")]
