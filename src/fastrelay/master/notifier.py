"""From what became of recipients to notices in the queue: what the queue manager calls as `bounce`.

At the end of a pass: a notice of what failed, one of what NOTIFY=SUCCESS wants to be told, one of a delay, one
after the other. A notice and the fact that it settles those it tells of become durable in one record, so a
crash leaves either what is to be told or the notice, never both and never neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastrelay.borders import Content, Envelope, Outcome, Status
from fastrelay.bounce.notices import (
    Notice,
    header_block,
    headers_suffice,
    make_notice,
    make_postmaster_copy,
)
from fastrelay.bounce.report import Subject
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.templates import DELAY, FAILURE, SUCCESS, Template
from fastrelay.bounce.verdicts import Told, discard_text
from fastrelay.log.maillog import MailLog
from fastrelay.master.own_mail import OwnMail
from fastrelay.master.retries import Retries
from fastrelay.queue._format import DELAY_TOLD, EXPANSION_TOLD, CorruptRecord
from fastrelay.queue.spool import Spool

Accepted = Callable[[Any, Notice, bytes], None]
EXPANDED = Outcome(0, Status.SENT, b"2.0.0", b"alias expanded", action=b"expanded")


@dataclass(frozen=True, slots=True)
class Errand:
    """A notice to be made: of what, and what of the message it settles."""

    template: Template
    told: list[Told]
    settles: list[int]


def errands(message: Any, due: Sequence[tuple[int, Outcome]], late: Sequence[Outcome] | None) -> list[Errand]:
    """In Postfix's order."""
    recipients = message.envelope.recipients
    made = []
    failed = [each for each in due if each[1].status is not Status.SENT]
    if failed:
        told = [(recipients[index], outcome) for index, outcome in failed]
        made.append(Errand(FAILURE, told, [index for index, _ in failed]))
    sent = [each for each in due if each[1].status is Status.SENT]
    expands = message.envelope.expanded and message.entry.owes_expansion
    if sent or expands:
        aliases = [(alias, EXPANDED) for alias in message.envelope.expanded] if expands else []
        told = aliases + [(recipients[index], outcome) for index, outcome in sent]
        made.append(Errand(SUCCESS, told, [index for index, _ in sent] + [EXPANSION_TOLD] * bool(expands)))
    if late:
        made.append(Errand(DELAY, [(recipients[each.recipient], each) for each in late], [DELAY_TOLD]))
    return made


class Notifier:
    """`accepted(entry, notice, queue_id)` gives the notice to the queue manager; `settled(message)` ends the pass."""

    def __init__(
        self,
        settings: BounceSettings,
        spool: Spool,
        log: MailLog,
        queue_name: Callable[[int], bytes],
        own_mail: OwnMail,
        accepted: Accepted,
        settled: Callable[[Any], None],
        retries: Retries,
    ) -> None:
        self.settings = settings
        self._spool = spool
        self._log = log
        self._queue_name = queue_name
        self._own_mail = own_mail
        self._accepted = accepted
        self._settled = settled
        self._retries = retries

    def notify(
        self, message: Any, due: Sequence[tuple[int, Outcome]], late: Sequence[Outcome] | None = None
    ) -> None:
        """`due`: what is to be told of recipients that ended, `late`: of those that are delayed."""
        self._go_on(message, errands(message, due, late))

    def _go_on(self, message: Any, left: list[Errand]) -> None:
        if not left:
            self._settled(message)
            return
        try:
            content = self._content(message, left[0].template)
        except CorruptRecord:  # the queue has set it aside and said so
            self._settled(message)
            return
        self._run(message, left, content)

    def _content(self, message: Any, template: Template) -> Content:
        """What a notice may enclose: many that wait to be durable do not hold their messages' bodies."""
        if message.content is not None:
            content: Content = message.content
            return content
        if headers_suffice(self.settings, message.envelope, template):
            return [self._spool.read_as_far(message.entry, header_block)]
        return self._spool.read_content(message.entry)

    def _run(self, message: Any, left: list[Errand], content: Content) -> None:
        errand = left[0]
        now = time.time()
        number = message.entry.message_id
        notice_number = self._spool.new_id(now, beside=number)
        notice_id = self._queue_name(notice_number)
        about = Subject(
            errand.template,
            self.settings,
            message.envelope,
            errand.told,
            content,
            now,
            message.queue_id,
            notice_id,
            number,
        )
        notice = make_notice(about)
        copy = partial(self._copy_to_postmaster, about)
        if notice is None:
            self._end_quietly(message, errand)
            copy()
            self._go_on(message, left[1:])
            return
        self._log.line(b"cleanup", b"%b: message-id=%b" % (notice_id, notice.envelope.message_id))

        def store(mapped: Envelope) -> None:
            mine = replace(notice, envelope=mapped)
            done = self._when_durable(message, left, mine, notice_id, copy)
            self._spool.append_notice(notice_number, mapped, notice.content, errand.settles, done)

        self._own_mail.map_then(notice.envelope, notice_id, store, partial(self._put_off, message, left))

    def _put_off(self, message: Any, left: list[Errand]) -> None:
        """It cannot be queued now. Delayed mail is not kept from its next try, and is told of after that one."""
        if left[0].template is DELAY:
            self._go_on(message, left[1:])
        else:
            self._retries.add(lambda: self._go_on(message, left))

    def _when_durable(
        self,
        message: Any,
        left: list[Errand],
        notice: Notice,
        notice_id: bytes,
        copy: Callable[[], None],
    ) -> Callable[[Any], None]:
        def done(entry: Any) -> None:
            if entry is None:
                self._put_off(message, left)
                return
            self._retries.worked()
            self._log.line(b"bounce", notice.log_text)
            self._accepted(entry, notice, notice_id)
            copy()  # once, however often a full disk refused the notice
            self._go_on(message, left[1:])

        return done

    def _end_quietly(self, message: Any, errand: Errand) -> None:
        """Nobody is to be told."""
        text = discard_text(self.settings, message.envelope.sender, message.queue_id, errand.template)
        if text is not None:
            say = self._log.warning if text[0] else self._log.line
            say(b"bounce", text[1])
        self._spool.settle(message.entry, errand.settles)

    def _copy_to_postmaster(self, about: Subject) -> None:
        number = self._spool.new_id(about.now)
        queue_id = self._queue_name(number)
        copy = make_postmaster_copy(replace(about, notice_id=queue_id))
        if copy is None:
            return

        def store(mapped: Envelope) -> None:
            mine = replace(copy, envelope=mapped)

            def done(entry: Any) -> None:
                if entry is not None:  # a copy for the postmaster is not worth the last of a full disk
                    self._log.line(b"bounce", mine.log_text)
                    self._accepted(entry, mine, queue_id)

            self._spool.append(number, mapped, mine.content, done)

        self._own_mail.map_then(copy.envelope, queue_id, store, lambda: None)
