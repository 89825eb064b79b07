"""From "these recipients failed" to a notice in the queue: what the queue manager calls as `bounce`.

The notice and the fact that it settles the failed recipients become durable in one record, so a crash
leaves either the failed recipients or the notice, never both and never neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from fastrelay.borders import Envelope, Outcome
from fastrelay.bounce.notices import Notice, make_notice, make_postmaster_copy
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.verdicts import discard_text
from fastrelay.log.maillog import MailLog
from fastrelay.master.own_mail import OwnMail
from fastrelay.queue._record import CorruptRecord
from fastrelay.queue.spool import Spool

Accepted = Callable[[Any, Notice, bytes], None]


class Notifier:
    """`accepted(entry, notice, queue_id)` gives the notice to the queue manager; `settled(message)` ends the pass.

    `later(call)` calls after a pause: the disk was full.
    """

    def __init__(
        self,
        settings: BounceSettings,
        spool: Spool,
        log: MailLog,
        queue_name: Callable[[int], bytes],
        own_mail: OwnMail,
        accepted: Accepted,
        settled: Callable[[Any], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.settings = settings
        self._spool = spool
        self._log = log
        self._queue_name = queue_name
        self._own_mail = own_mail
        self._accepted = accepted
        self._settled = settled
        self._later = later

    def bounce(self, message: Any, failed: list[tuple[int, Outcome]]) -> None:
        envelope = message.envelope
        failures = [(envelope.recipients[index], outcome) for index, outcome in failed]
        try:
            content = message.content if message.content is not None else message.load()
        except CorruptRecord:  # the queue has set it aside and said so
            self._settled(message)
            return
        now = time.time()
        number = message.entry.message_id
        notice_number = self._spool.new_id(now, beside=number)
        notice_id = self._queue_name(notice_number)
        notice = make_notice(
            self.settings, envelope, failures, content, now, message.queue_id, notice_id, number
        )
        if notice is None:
            self._end_quietly(message)
        else:
            self._log.line(b"cleanup", b"%b: message-id=%b" % (notice_id, notice.envelope.message_id))
            copy = partial(self._copy_to_postmaster, message, failures, content, now)

            def store(mapped: Envelope) -> None:
                mine = replace(notice, envelope=mapped)
                done = self._when_durable(message, failed, mine, notice_id, copy)
                self._spool.append_notice(notice_number, mapped, notice.content, done)

            self._own_mail.map_then(
                notice.envelope,
                notice_id,
                store,
                lambda: self._later(lambda: self.bounce(message, failed)),
            )

    def _when_durable(
        self,
        message: Any,
        failed: list[tuple[int, Outcome]],
        notice: Notice,
        notice_id: bytes,
        copy: Callable[[], None],
    ) -> Callable[[Any], None]:
        def done(entry: Any) -> None:
            if entry is None:
                self._later(lambda: self.bounce(message, failed))
                return
            self._log.line(b"bounce", notice.log_text)
            self._accepted(entry, notice, notice_id)
            copy()  # once, however often a full disk refused the notice
            self._settled(message)

        return done

    def _end_quietly(self, message: Any) -> None:
        """Nobody is to be told."""
        text = discard_text(self.settings, message.envelope.sender, message.queue_id)
        if text is not None:
            self._log.warning(b"bounce", text)
        self._spool.settle(message.entry)
        self._settled(message)

    def _copy_to_postmaster(self, message: Any, failures: Any, content: Any, now: float) -> None:
        number = self._spool.new_id(now)
        queue_id = self._queue_name(number)
        copy = make_postmaster_copy(
            self.settings, message.envelope, failures, content, now, message.queue_id, queue_id
        )
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
