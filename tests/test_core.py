"""ReceiveSession against its slow twin (H-F13), its limits, and what it keeps in memory."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from fastrelay._core import ReceiveSession
from fastrelay.borders import Flag
from fastrelay.cleanup.received import ReceivedHeader
from fastrelay.receive._rules import SessionRules
from fastrelay.receive._session import Status
from reference.session_reference import Open, SessionReference, counts_text
from support.receive_lab import NOW, BareWire, ReceiveLab

LIMITS = {
    "smtpd_soft_error_limit": "4",
    "smtpd_hard_error_limit": "8",
    "smtpd_junk_command_limit": "6",
    "smtpd_recipient_limit": "4",
    "smtpd_recipient_overshoot_limit": "3",
}
REFUSALS = {
    "mail": b"550 5.7.1 sender refused",
    "rcpt": b"450 4.7.1 recipient refused",
    "data": b"554 5.7.1 data refused",
    "end": b"554 5.7.1 message refused",
}
COMMIT_REFUSAL = b"451 4.3.0 Error: queue file write error"
SMTPUTF8 = frozenset({b"SMTPUTF8"})


class Scripted:
    """A stage's check: answers what was said last, at once or (`later`) as something to await."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.later = False

    def __call__(self, session: Any, argument: Any) -> Any:
        return self.wait() if self.later else self.answer

    async def wait(self) -> bytes | None:
        return self.answer


class Walk:
    """A session and its twin, led through the same events."""

    def __init__(self, lab: ReceiveLab, chance: random.Random) -> None:
        self.chance = chance
        self.stages = {name: Scripted() for name in ("hello", "mail", "rcpt", "data", "end")}
        self.room = True
        self.commit: bytes | None = None
        self.session = ReceiveSession(
            self.rules(lab), lab.service.client("127.0.0.9", b"unknown"), lab.journal
        )
        self.twin = SessionReference(4, 8, 6, 4, 3)
        self.queued: list[Open] = []
        self.ids: set[int] = set()
        assert self.session.output().startswith(b"220 ")

    def rules(self, lab: ReceiveLab) -> SessionRules:
        service = lab.service
        return SessionRules(
            lab.settings,
            ehlo_reply=service.rules.ehlo_reply,
            checks=tuple(self.stages.values()),
            new_id=lambda now: next(lab._ids),
            queue_name=lambda number: b"%X" % number,
            has_room=lambda size: self.room,
            rewrite=lab.routing.rewriter.envelope,
            received=ReceivedHeader(b"relay.example", b"Postfix"),
            is_forbidden=lambda word: False,
        )

    def send(self, data: bytes) -> list[bytes]:
        """The lines of the replies to what was sent in random pieces."""
        out = b""
        while data:
            size = self.chance.choice((1, 3, 10, 1000))
            out += self.settle(self.session.feed(data[:size], NOW))
            data = data[size:]
        return out.split(b"\r\n")[:-1]

    def begin(self) -> None:
        """A transaction with one recipient."""
        for line in (b"EHLO c", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<u@relay.example>"):
            assert self.send(line + b"\r\n")[-1].startswith(b"250 ")

    def settle(self, status: int) -> bytes:
        out = self.session.output()
        while status not in (Status.NEED_DATA, Status.CLOSE):
            if status == Status.WAIT:
                with pytest.raises(StopIteration) as done:
                    self.session.waiting.send(None)
                status = self.session.resume(done.value.value, NOW)
            elif status == Status.DELAY:
                status = self.session.proceed(NOW)
            else:
                status = self.commit_message()
            out += self.session.output()
        assert (status == Status.CLOSE) == (not self.session.is_open())
        return out

    def commit_message(self) -> int:
        number, envelope, _ = self.session.take_message()
        assert number not in self.ids
        self.ids.add(number)
        if self.commit is None:
            flags = SMTPUTF8 if envelope.flags & Flag.SMTPUTF8 else frozenset()
            self.queued.append(Open(envelope.sender, flags, [r.address for r in envelope.recipients]))
        return self.session.committed(NOW, self.commit)

    # Events

    def draw(self) -> None:
        """New verdicts for the next command."""
        for name, stage in self.stages.items():
            refused = name in REFUSALS and self.chance.random() < 0.15
            stage.answer = REFUSALS[name] if refused else None
            stage.later = self.chance.random() < 0.3
        self.room = self.chance.random() > 0.05
        self.commit = COMMIT_REFUSAL if self.chance.random() < 0.1 else None

    def step(self) -> None:
        self.draw()
        event = self.chance.choice(EVENTS)
        said, wanted = event(self)
        assert len(said) == len(wanted), (event.__name__, said, wanted)
        for got, begin in zip(said, wanted, strict=True):
            assert got.startswith(begin), (event.__name__, said, wanted)
        assert self.queued == self.twin.queued
        assert self.session.is_open() != self.twin.is_closed
        self.compare_transaction()

    def compare_transaction(self) -> None:
        """Nothing of an ended transaction is left, nothing of an open one is lost."""
        transaction, is_open = self.session.transaction, self.twin.open
        if is_open is None:
            assert transaction.sender is None
            assert (transaction.recipients, transaction.flags, transaction.envid) == ([], 0, b"")
            assert (transaction.message_id, transaction.queue_id) == (None, b"")
        else:
            assert transaction.sender.external == is_open.sender
            assert [recipient.address for recipient in transaction.recipients] == is_open.recipients
            assert bool(transaction.flags & Flag.SMTPUTF8) == bool(is_open.flags)
            assert bool(transaction.queue_id) == bool(is_open.recipients)
        coming = is_open is not None and bool(is_open.recipients)
        assert self.session.rules.coming == coming  # group commit waits for nobody else

    def answer(self, stage: str) -> bytes | None:
        return self.stages[stage].answer


Said = tuple[list[bytes], list[bytes]]


def hello(walk: Walk) -> Said:
    said = walk.send(walk.chance.choice((b"EHLO c.example\r\n", b"HELO c.example\r\n")))
    return [line for line in said if line[3:4] != b"-"], walk.twin.hello()


def mail(walk: Walk) -> Said:
    sender = walk.chance.choice((b"", b"a@sender.example", b"b@sender.example"))
    flags = walk.chance.choice((SMTPUTF8, frozenset()))
    said = walk.send(b"MAIL FROM:<%b>%b\r\n" % (sender, b" SMTPUTF8" if flags else b""))
    return said, walk.twin.mail(sender, flags, walk.answer("mail"), walk.room)


def rcpt(walk: Walk) -> Said:
    recipient = b"u%d@relay.example" % walk.chance.randrange(3)
    return walk.send(b"RCPT TO:<%b>\r\n" % recipient), walk.twin.rcpt(recipient, walk.answer("rcpt"))


def data(walk: Walk) -> Said:
    said = walk.send(b"DATA\r\n")
    if said[0].startswith(b"354"):
        said += walk.send(b"Subject: x\r\n\r\n..\r\nRSET\r\n.\r\n")
    return said, walk.twin.data(walk.answer("data"), walk.answer("end"), walk.commit)


def bdat(walk: Walk) -> Said:
    last = walk.chance.random() < 0.5
    chunk = walk.chance.choice((b"", b"Subject: x\r\n", b"QUIT\r\n.\r\n\r"))
    said = walk.send(b"BDAT %d%b\r\n" % (len(chunk), b" LAST" if last else b""))
    said += walk.send(chunk)
    return said, walk.twin.bdat(len(chunk), last, walk.answer("end"), walk.commit)


def rset(walk: Walk) -> Said:
    return walk.send(b"RSET\r\n"), walk.twin.rset()


def noop(walk: Walk) -> Said:
    return walk.send(b"NOOP\r\n"), walk.twin.noop()


def vrfy(walk: Walk) -> Said:
    return walk.send(b"VRFY u@relay.example\r\n"), walk.twin.vrfy(b"u@relay.example")


def unknown(walk: Walk) -> Said:
    return walk.send(b"FOO\r\n"), walk.twin.wrong(b"500 5.5.2 Error: command not recognized")


def bad_recipient(walk: Walk) -> Said:
    said = walk.send(b"RCPT TO:<@>\r\n")
    if walk.twin.open is None or walk.twin.chunks:
        return said, walk.twin.rcpt(b"", None)
    return said, walk.twin.wrong(b"501 5.1.3 Bad recipient address syntax")


def long_line(walk: Walk) -> Said:
    return walk.send(b"RCPT TO:<" + b"x" * 3000 + b"\r\n"), walk.twin.wrong(
        b"500 5.5.2 Error: command too long"
    )


def leave(walk: Walk) -> Said:
    return walk.send(b"QUIT\r\n"), walk.twin.quit()


EVENTS = (
    *(mail, data, bdat) * 4,
    *(rcpt,) * 6,
    *(hello, rset, noop, vrfy, unknown, bad_recipient, long_line),
)


@pytest.mark.parametrize("seed", range(8))
def test_random_walks_equal_the_reference(seed: int) -> None:
    lab = ReceiveLab(LIMITS)
    chance = random.Random(seed)
    for _ in range(60):
        walk = Walk(lab, chance)
        for _ in range(40):
            walk.step()
            if walk.twin.is_closed:
                break
        else:
            said, wanted = leave(walk)
            assert said == wanted


def test_refusal_at_the_end_of_data_ends_the_transaction() -> None:
    """H-F03: Postfix 3.7 answers 250 and 354 here."""
    walk = Walk(ReceiveLab(), random.Random(1))
    walk.begin()
    walk.stages["end"].answer = b"554 5.7.1 no"
    walk.send(b"DATA\r\n")
    assert walk.send(b"body\r\n.\r\n")[-1] == b"554 5.7.1 no"
    assert walk.send(b"RCPT TO:<v@relay.example>\r\n") == [b"503 5.5.1 Error: need MAIL command"]
    assert walk.send(b"DATA\r\n") == [b"503 5.5.1 Error: need RCPT command"]


def test_a_521_at_the_end_of_data_closes() -> None:
    walk = Walk(ReceiveLab(), random.Random(1))
    walk.begin()
    walk.stages["end"].answer = b"521 5.7.1 go away"
    walk.send(b"DATA\r\n")
    assert walk.send(b"body\r\n.\r\n")[-1] == b"521 5.7.1 go away"
    assert not walk.session.is_open()
    assert walk.session.feed(b"NOOP\r\n", NOW) == Status.CLOSE
    assert walk.session.output() == b""


def test_what_is_pipelined_behind_a_wait_is_kept_in_order() -> None:
    walk = Walk(ReceiveLab(), random.Random(1))
    walk.send(b"EHLO c\r\n")
    for stage in walk.stages.values():
        stage.later = True
    lines = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<u@relay.example>\r\nRCPT TO:<@>\r\nRSET\r\nRSET\r\n"
    assert walk.session.feed(lines, NOW) == Status.WAIT
    assert walk.session.is_waiting()
    assert walk.session.feed(b"QUIT\r\n", NOW) == Status.WAIT
    codes = [line[:9] for line in walk.settle(Status.WAIT).split(b"\r\n")[:-1]]
    assert codes == [b"250 2.1.0", b"250 2.1.5", b"501 5.1.3", b"250 2.0.0", b"250 2.0.0", b"221 2.0.0"]


@pytest.mark.parametrize("ending", [b"", b"\r\n.", b"\r\n.\r"])
def test_a_client_that_leaves_in_data_leaves_nothing(ending: bytes) -> None:
    """H-E20."""
    walk = Walk(ReceiveLab(), random.Random(1))
    walk.begin()
    walk.send(b"DATA\r\n")
    walk.send(b"x" * 100_000 + ending)
    assert walk.session.buffered >= 100_000
    walk.session.abandon()
    assert (walk.session.buffered, walk.session.take_message(), walk.queued) == (0, None, [])
    walk.compare_transaction()


def test_contents_above_the_limit_are_not_kept() -> None:
    """H-E19, H-F06."""
    walk = Walk(ReceiveLab({"message_size_limit": "50000"}), random.Random(1))
    walk.begin()
    walk.send(b"DATA\r\n")
    for _ in range(50):
        assert walk.session.feed(b"x" * 10_000 + b"\r\n", NOW) == Status.NEED_DATA
        assert walk.session.buffered < 100_000
    assert walk.send(b".\r\n") == [b"552 5.3.4 Error: message file too big"]


def test_chunks_cost_the_same_however_many_there_were() -> None:
    """H-F08: a hundred thousand chunks of one octet; the session keeps the octets and nothing else."""
    walk = Walk(ReceiveLab(), random.Random(1))
    walk.begin()
    block = b"BDAT 1\r\nx" * 1000
    for _ in range(100):
        assert walk.session.feed(block, NOW) == Status.NEED_DATA
        assert walk.session.output() == b"250 2.0.0 Ok: 1 bytes\r\n" * 1000
    assert walk.session.buffered < 400_000
    assert walk.send(b"BDAT 0 LAST\r\n")[0].startswith(b"250 2.0.0 Ok: 100002 bytes queued as ")


def test_a_thousand_recipients_and_not_one_more() -> None:
    """H-E01 with the defaults, and H-E02: 421 after limit, overshoot and errors."""
    lab = ReceiveLab()
    wire = BareWire(lab.session(), lambda data: [data])
    wire.send(b"EHLO c\r\n")
    wire.send(b"MAIL FROM:<a@sender.example>\r\n")
    assert wire.lines(12)[-1] == b"250 2.1.0 Ok"
    wire.send(b"".join(b"RCPT TO:<u%d@relay.example>\r\n" % n for n in range(2300)))
    said = wire.lines(3000)
    assert said[:1000] == [b"250 2.1.5 Ok"] * 1000
    assert said[1000:-1] == [b"452 4.5.3 Error: too many recipients"] * 1020
    assert said[-1] == b"421 4.7.0 mx.local.example Error: too many errors"
    assert wire.is_closed()


def test_errors_slow_the_replies_down() -> None:
    """smtpd_soft_error_limit: the shell is asked to wait before each reply, good ones too."""
    session = ReceiveLab(LIMITS).session()
    statuses = deque(session.feed(b"FOO\r\n", NOW) for _ in range(3))
    assert set(statuses) == {Status.NEED_DATA}
    waits = []
    for line in (b"FOO\r\n", b"NOOP\r\n", b"FOO\r\n", b"RSET\r\n"):
        waits.append(session.feed(line, NOW) == Status.DELAY)
        session.proceed(NOW)
    assert waits == [False, True, True, True]


def test_the_greeting_and_counts() -> None:
    session = ReceiveLab().session()
    assert session.output() == b"220 mx.local.example ESMTP Mail\r\n"
    assert session.last_verb == b"CONNECT"
    session.feed(b"EHLO c\r\n", NOW)
    session.feed(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<u@outside.example>\r\nFOO\r\nRSET\r\n", NOW)
    assert session.counts() == counts_text(
        [(b"ehlo", 1, 1), (b"mail", 1, 1), (b"rcpt", 0, 1), (b"rset", 1, 1), (b"unknown", 0, 1)]
    )
    assert session.last_verb == b"RSET"


@pytest.mark.parametrize("words", [(), (b"FOO",), (b"QUIT",), (b"NOOP", b"VRFY", b"FOO"), (b"NOOP",) * 123])
def test_counts_are_those_of_the_disconnect_line(words: tuple[bytes, ...]) -> None:
    session = ReceiveLab({"smtpd_junk_command_limit": "1000"}).session()
    for word in words:
        session.feed(word + b"\r\n", NOW)
    good = {b"NOOP": 1, b"QUIT": 1}
    shown = [(b"noop", b"NOOP"), (b"vrfy", b"VRFY"), (b"quit", b"QUIT"), (b"unknown", b"FOO")]
    wanted = [(name, words.count(w) * good.get(w, 0), words.count(w)) for name, w in shown if w in words]
    assert session.counts() == counts_text(wanted)
