"""The check of Stage.CLEANUP: the envelope that the client gave becomes the one that is stored.

There is one only where main.cf maps an address or adds a recipient (see make). A table that cannot answer
is 451 with cleanup's log lines, and nothing is stored; one that has to be waited for makes the check an
awaitable. The mapping itself is pure (rewrite/envelope.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from fastrelay.rewrite.envelope import EnvelopeMapping, Mapped
from fastrelay.rewrite.mapping import MappingFailed, Trouble
from fastrelay.smtpd.journal import Journal
from fastrelay.tables.pending import ask
from fastrelay.wire import replies

REPLIES = {
    Trouble.LOOKUP: replies.R451_QUEUE_FILE_WRITE_ERROR,
    Trouble.EXPANSION: replies.R451_ALIAS_EXPANSION_ERROR,
}


class Cleanup:
    def __init__(self, mapping: EnvelopeMapping, journal: Journal) -> None:
        self._mapping = mapping
        self._journal = journal

    def __call__(self, session: Any, _argument: object) -> bytes | Awaitable[bytes | None] | None:
        transaction = session.transaction
        try:
            answer = ask(self._mapping.map, transaction.sender, transaction.recipients, True)
        except MappingFailed as failure:
            return self._refuse(session, failure)
        if isinstance(answer, Mapped):
            self._apply(session, answer)
            return None
        return self._wait(session, answer)

    async def _wait(self, session: Any, answer: Awaitable[Mapped]) -> bytes | None:
        try:
            self._apply(session, await answer)
        except MappingFailed as failure:
            return self._refuse(session, failure)
        return None

    def _apply(self, session: Any, mapped: Mapped) -> None:
        self._journal.cleanup_warnings(mapped.warnings.lines(session.transaction.queue_id))
        session.transaction.map_envelope(mapped.sender, mapped.recipients, tuple(mapped.expanded))

    def _refuse(self, session: Any, failure: MappingFailed) -> bytes:
        self._journal.cleanup_warnings(failure.lines(session.transaction.queue_id))
        return REPLIES[failure.trouble]


def make(mapping: EnvelopeMapping, overrides: Sequence[str], journal: Journal) -> Cleanup | None:
    """`overrides` are receive_override_options."""
    if not mapping or "no_address_mappings" in (word.lower() for word in overrides):
        return None
    return Cleanup(mapping, journal)
