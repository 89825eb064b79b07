"""What a notice settles besides failures: deliveries that are to be told, aliases that were expanded, a delay.

Nothing of it is forgotten by a crash, a stop or a relocation, and nothing is told of twice once its notice is there.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from fastrelay.borders import Envelope, Recipient, Status
from fastrelay.queue._entry import Entry
from fastrelay.queue._format import DELAY_TOLD, EXPANSION_TOLD, State
from support.queue_lab import Lab, envelope, outcome

SENT, DEFERRED = Status.SENT, Status.DEFERRED
TOLD = replace(outcome(1, SENT, b"250 Ok"), relay=b"mx[1.2.3.4]:25", action=b"relayed", notice=True)
ALIAS = Recipient(b"list@example.net", b"list@example.net", b"rfc822;list@example.net", 2)


def again(lab: Lab, directory: Path, clean: bool = False) -> Lab:
    lab.stop() if clean else lab.crash()
    lab = Lab(directory)
    assert lab.problems == []
    return lab


def notice(lab: Lab, about: Entry, settles: list[int]) -> Entry:
    """Until the notice is durable; its outcome is not."""
    number = lab.spool.new_id(1.7e9, about.message_id)
    made = envelope("notice", notice_of=about.message_id)
    lab.spool.append_notice(number, made, [b"told\r\n"], settles, lab._done)
    lab.until(lambda: number in lab.spool.entries)
    return lab.spool.entries[number]


def relocate(lab: Lab, entry: Entry) -> None:
    first = entry.segment
    for _ in range(60):
        lab.spool.record(lab.store(envelope(), [b"x" * 200_000]), [outcome(0, SENT)])
    lab.until(lambda: entry.segment > first)
    lab.settle()


@pytest.mark.parametrize("moved", [False, True])
def test_a_delivery_that_is_to_be_told_stays_until_it_is(tmp_path: Path, moved: bool) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(recipients=2), [b"x"])
    lab.spool.record(entry, [outcome(0, SENT), TOLD])
    assert entry.state is not State.DONE
    if moved:
        relocate(lab, entry)
    lab.settle()
    for clean in (False, True):
        lab = again(lab, tmp_path, clean)
        entry = lab.spool.entries[entry.message_id]
        assert (entry.pending_recipients(), entry.failed_recipients()) == ([], [1])
        assert lab.spool.read_notes(entry) == {1: TOLD}
    made = notice(lab, entry, [1])
    assert entry.state is State.DONE and list(lab.spool.entries) == [made.message_id]
    lab = again(lab, tmp_path)
    assert list(lab.spool.entries) == [made.message_id]
    lab.stop()


def test_outcomes_that_nobody_asked_to_be_told_end_at_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(), [b"x"])
    lab.spool.record(entry, [replace(TOLD, recipient=0, notice=False)])
    assert entry.state is State.DONE and not lab.spool.entries
    lab.stop()


def test_two_notices_settle_their_own(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(recipients=2), [b"x"])
    lab.spool.record(entry, [outcome(0, Status.BOUNCED), TOLD])
    notice(lab, entry, [0])
    assert entry.failed_recipients() == [1]
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert entry.failed_recipients() == [1]
    lab.spool.settle(entry, [1])
    assert entry.state is State.DONE
    lab.stop()


@pytest.mark.parametrize("moved", [False, True])
def test_an_expansion_keeps_the_message_until_it_is_told(tmp_path: Path, moved: bool) -> None:
    sent = envelope(recipients=2, expanded=(ALIAS, ALIAS))
    lab = Lab(tmp_path)
    entry = lab.store(sent, [b"x"])
    assert entry.owes_expansion
    lab.spool.record(entry, [outcome(0, SENT)])
    if moved:
        relocate(lab, entry)
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert entry.owes_expansion and lab.spool.read_envelope(entry) == sent
    lab.spool.record(entry, [outcome(1, SENT)])
    lab.settle()
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert entry.pending_recipients() == [] and entry.owes_expansion
    made = notice(lab, entry, [EXPANSION_TOLD])
    assert entry.state is State.DONE
    lab = again(lab, tmp_path)
    assert list(lab.spool.entries) == [made.message_id]
    lab.stop()


def test_a_told_expansion_is_over(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(expanded=(ALIAS,)), [b"x"])
    notice(lab, entry, [EXPANSION_TOLD])
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert not entry.owes_expansion and entry.pending_recipients() == [0]
    lab.spool.record(entry, [outcome(0, SENT)])
    assert entry.state is State.DONE
    lab.stop()


@pytest.mark.parametrize("flushed", [False, True])
def test_a_delay_is_told_once(tmp_path: Path, flushed: bool) -> None:
    """The notice's COMMIT says so, and when that has gone, SETTLED or the relocated copy."""
    lab = Lab(tmp_path)
    entry = lab.store(envelope(), [b"x"])
    lab.spool.record(entry, [outcome(0, DEFERRED, b"busy")], 7.5)
    assert not entry.warned
    made = notice(lab, entry, [DELAY_TOLD])
    assert entry.warned and entry.pending_recipients() == [0]
    if flushed:
        lab.settle()
    else:
        for shard in lab.spool._all:
            shard.pending.clear()  # SETTLED never reaches the disk
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert entry.warned and entry.next_try == 7.5
    lab.spool.record(lab.spool.entries[made.message_id], [outcome(0, SENT)])
    lab.settle()
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert entry.warned
    relocate(lab, entry)
    lab = again(lab, tmp_path)
    assert lab.spool.entries[entry.message_id].warned
    lab.stop()


def test_a_delay_that_nobody_hears_of_is_noted_too(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(), [b"x"])
    lab.spool.settle(entry, [DELAY_TOLD])
    lab.settle()
    lab = again(lab, tmp_path)
    assert lab.spool.entries[entry.message_id].warned
    lab.stop()


@pytest.mark.parametrize("moved", [False, True])
def test_a_forced_expiration_is_kept_until_the_message_is_requeued(tmp_path: Path, moved: bool) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(recipients=2), [b"x"])
    lab.spool.expire(entry)
    lab.spool.record(entry, [outcome(0, Status.DEFERRED)], 7.5)
    lab.spool.hold(entry)
    if moved:
        relocate(lab, entry)
    lab.settle()
    lab = again(lab, tmp_path)
    entry = lab.spool.entries[entry.message_id]
    assert (entry.forced_expire, entry.state, entry.pending_recipients()) == (True, State.HOLD, [0, 1])
    lab.spool.release(entry)
    assert entry.forced_expire
    lab.spool.requeue(entry)
    assert not entry.forced_expire
    lab.settle()
    lab = again(lab, tmp_path)
    assert not lab.spool.entries[entry.message_id].forced_expire
    lab.stop()


def test_a_removed_message_owes_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    entry = lab.store(envelope(expanded=(ALIAS,)), [b"x"])
    lab.spool.remove(entry)
    assert entry.state is State.DONE
    lab.spool.settle(entry, [EXPANSION_TOLD])
    lab = again(lab, tmp_path)
    assert not lab.spool.entries
    lab.stop()


def test_an_envelope_without_aliases_is_as_it_was() -> None:
    assert Envelope(b"", [], 0.0).expanded == ()
