"""Mail that is made here, notices and what an alias sends on, under the envelope that cleanup gives it.

As in Postfix such mail is mapped (canonical, masquerading, virtual aliases) and gets no copies. Where nothing
maps, nothing is asked. A mapping that fails is logged; the caller tries again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastrelay.borders import Envelope, Notify, Recipient
from fastrelay.cleanup._recipients import unique
from fastrelay.log.maillog import MailLog
from fastrelay.rewrite._address import from_external
from fastrelay.rewrite.envelope import EnvelopeMapping, Mapped
from fastrelay.rewrite.mapping import MappingFailed
from fastrelay.tables.pending import ask

Go = Callable[[Envelope], None]


def forwarded(
    old: Envelope, recipient: int, addresses: list[bytes], owner: bytes, now: float, added: int
) -> Envelope:
    """What an alias makes of one recipient, `added` bytes longer; the owner takes its bounces."""
    given = old.recipients[recipient]
    # RFC 3461 5.2.7.2: the list is where delivery ends that SUCCESS asks about
    notify = given.notify & ~Notify.SUCCESS or Notify.NEVER if given.notify & Notify.SUCCESS else given.notify
    recipients = [
        Recipient(address, address if owner else given.original, b"" if owner else given.orcpt, int(notify))
        for address in addresses
    ]
    sender = owner or old.sender
    return replace(old, sender=sender, recipients=recipients, arrival=now, size=old.size + added, expanded=())


def as_mapped(recipient: Recipient) -> Recipient:
    """Nobody gave an address of its own making: the original is what canonical maps make of it."""
    return replace(recipient, original=b"") if recipient.original == recipient.address else recipient


class OwnMail:
    """`mapping()` is the one of the configuration at hand, `duplicate_limit()` its duplicate_filter_limit."""

    def __init__(
        self, mapping: Callable[[], EnvelopeMapping], log: MailLog, duplicate_limit: Callable[[], int]
    ) -> None:
        self._mapping = mapping
        self._log = log
        self._duplicate_limit = duplicate_limit
        self._tasks: set[asyncio.Task[None]] = set()

    async def map(self, envelope: Envelope, queue_id: bytes) -> Envelope | None:
        """None: it could not be mapped now."""
        answer = self._ask(envelope, queue_id)
        if isinstance(answer, Envelope) or answer is None:
            return answer
        return await self._wait(answer, envelope, queue_id)

    def map_then(self, envelope: Envelope, queue_id: bytes, go: Go, fail: Callable[[], object]) -> None:
        """Calls `go` with the mapped envelope, at once unless a table has to be waited for; or `fail`."""
        answer = self._ask(envelope, queue_id)
        if isinstance(answer, Envelope):
            go(answer)
        elif answer is None:
            fail()
        else:
            task = asyncio.get_running_loop().create_task(self._then(answer, envelope, queue_id, go, fail))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ask(self, envelope: Envelope, queue_id: bytes) -> Envelope | Awaitable[Mapped] | None:
        mapping = self._mapping()
        if not mapping.maps:
            return envelope
        try:
            recipients = [as_mapped(recipient) for recipient in envelope.recipients]
            answer = ask(mapping.map, from_external(envelope.sender), recipients, False)
        except MappingFailed as failure:
            self._warn(failure.lines(queue_id))
            return None
        return self._apply(answer, envelope, queue_id) if isinstance(answer, Mapped) else answer

    async def _wait(self, answer: Awaitable[Mapped], envelope: Envelope, queue_id: bytes) -> Envelope | None:
        try:
            return self._apply(await answer, envelope, queue_id)
        except MappingFailed as failure:
            self._warn(failure.lines(queue_id))
            return None

    async def _then(
        self,
        answer: Awaitable[Mapped],
        envelope: Envelope,
        queue_id: bytes,
        go: Go,
        fail: Callable[[], object],
    ) -> None:
        mapped = await self._wait(answer, envelope, queue_id)
        if mapped is None:
            fail()
        else:
            go(mapped)

    def _apply(self, mapped: Mapped, envelope: Envelope, queue_id: bytes) -> Envelope:
        self._warn(mapped.warnings.lines(queue_id))
        recipients = unique(mapped.recipients, self._duplicate_limit())
        return replace(envelope, sender=mapped.sender.external, recipients=recipients)

    def _warn(self, texts: list[bytes]) -> None:
        for text in texts:
            self._log.warning(b"cleanup", text)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A bug in there ends the worker."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()
