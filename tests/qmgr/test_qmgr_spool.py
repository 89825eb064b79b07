"""The queue manager on the real queue: what is deferred, bounced or half sent survives a restart."""

import os
import time

from qmgr_parts import Damaged, House, State

from fastrelay.borders import Envelope, Notify, Outcome, Recipient, Status
from fastrelay.queue import _format
from fastrelay.queue import spool as spools
from fastrelay.queue.settings import QueueSettings

SETTINGS = QueueSettings(
    fastrelay_queue_shards=1,
    fastrelay_segment_size=1 << 20,
    fastrelay_relocation_rate=1 << 20,
    fastrelay_commit_deadline=120.0,
    message_size_limit=1 << 20,
    queue_minfree=0,
)
LIVE = (_format.State.INCOMING, _format.State.ACTIVE, _format.State.DEFERRED)


class RealHouse(House):
    def __init__(self, directory, **settings):
        self.descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.wrong = []
        spool = spools.Spool(self.descriptor, [0], SETTINGS, self.wrong.append)
        assert spool.recover() == []
        spool.start()
        super().__init__(spool=spool, now=time.time(), is_live=lambda entry: entry.state in LIVE, **settings)
        self.manager.recovered(list(spool.entries.values()))

    def accept(self, *recipients, notify=0):
        people = [Recipient(r, notify=notify) for r in recipients]
        envelope = Envelope(b"s@x.test", people, self.now, size=100)
        content, entries = [b"Subject: x\r\n\r\nhello\r\n"], []
        self.spool.append(self.spool.new_id(self.now), envelope, content, entries.append)
        end = time.monotonic() + 60
        while not entries:
            assert time.monotonic() < end and not self.wrong
            time.sleep(0.001)
            self.spool.completed()
        self.manager.accepted(entries[0], envelope, content)
        return entries[0]

    def stop(self):
        self.spool.stop()
        os.close(self.descriptor)


def one_pass(house, verdicts):
    house.pump()
    house.agent.take_all()
    for queue, delivery in list(house.agent.taken):
        house.agent.end(queue, delivery, verdicts[queue.next_hop])
    house.agent.take_all()
    house.pump()


def test_restart_in_the_middle(tmp_path):
    house = RealHouse(tmp_path)
    house.settle_at_once = False
    mixed = house.accept(b"a@sent.test", b"b@deferred.test", b"c@bounced.test")
    done = house.accept(b"a@sent.test")
    verdicts = {
        b"sent.test": Status.SENT,
        b"deferred.test": Status.DEFERRED,
        b"bounced.test": Status.BOUNCED,
    }
    one_pass(house, verdicts)
    assert done.state is _format.State.DONE and done.message_id not in house.spool.entries
    assert mixed.pending_recipients() == [1] and mixed.failed_recipients() == [2]
    due = mixed.next_try
    house.stop()  # the notice was never queued

    again = RealHouse(tmp_path)
    (entry,) = again.spool.entries.values()
    assert entry.next_try == due and entry.tries == 1
    again.advance(301)
    again.agent.take_all()
    ((queue, delivery),) = again.agent.taken
    assert delivery.addresses == [b"b@deferred.test"]
    assert b"".join(delivery.message.load()) == b"Subject: x\r\n\r\nhello\r\n"
    again.agent.end(queue, delivery)
    ((_, failed),) = again.notices
    assert [(i, o.status, o.dsn) for i, o in failed] == [(2, Status.BOUNCED, b"5.1.1")]
    assert not again.spool.entries and again.lines[-1].endswith(b": removed")
    again.stop()


def test_damaged_reasons_still_make_a_notice(tmp_path, monkeypatch):
    """The worker would end at each start, for ever, if the reasons of one message could not be read."""
    house = RealHouse(tmp_path)
    house.settle_at_once = False
    house.accept(b"c@bounced.test")
    one_pass(house, {b"bounced.test": Status.BOUNCED})
    house.stop()  # the notice was never queued

    class Unreadable(spools.Spool):
        def read_notes(self, entry):
            raise Damaged

    monkeypatch.setattr(spools, "Spool", Unreadable)
    again = RealHouse(tmp_path)
    again.advance(1)
    ((_, failed),) = again.notices
    assert [(i, o.status, o.dsn) for i, o in failed] == [(0, Status.BOUNCED, b"5.0.0")]
    again.stop()


def test_hold_release_and_delete(tmp_path):
    house = RealHouse(tmp_path)
    first, second = house.accept(b"a@one.test"), house.accept(b"b@two.test")
    house.manager.hold(first)
    house.manager.delete(second)
    assert not house.manager.active
    house.pump()
    house.agent.take_all()
    assert not house.agent.taken
    house.stop()
    again = RealHouse(tmp_path)
    (entry,) = again.spool.entries.values()
    again.advance(10_000)
    assert entry.state is _format.State.HOLD and not again.manager.active
    again.manager.release(entry)
    again.advance(1)
    again.deliver_everything()
    assert entry.state is _format.State.DONE and not again.spool.entries
    again.stop()


def test_states_of_the_recording_spool_are_the_real_ones():
    assert {state.name for state in State} <= {state.name for state in _format.State}


def test_a_success_that_was_not_yet_told_is_told_after_a_restart(tmp_path):
    house = RealHouse(tmp_path)
    house.settle_at_once = False
    house.accept(b"a@one.test", notify=int(Notify.SUCCESS))
    house.pump()
    house.agent.take_all()
    ((_, delivery),) = house.agent.taken
    sent = Outcome(0, Status.SENT, b"2.0.0", b"250 Ok", b"mx", action=b"relayed")
    house.manager.report(delivery, [sent])
    assert len(house.notices) == 1  # and then the process ends
    house.stop()
    house = RealHouse(tmp_path)
    house.settle_at_once = False
    house.pump()
    ((message, due),) = house.notices
    assert due == [(0, sent)] and sent.notice
    house.settle(message)
    assert house.lines[-1].endswith(b": removed") and not house.agent.taken
    house.stop()
    house = RealHouse(tmp_path)
    house.pump()
    assert not house.notices and not house.spool.entries
    house.stop()
