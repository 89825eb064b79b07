"""The check of Stage.CONTENT: what header and body checks and mapped header addresses make of a message.

There is one only where main.cf asks for any of it (see make); without, the session cleans the header itself and
the body is never looked at. The work is pure (cleanup/checks.py), so that a table can be waited for; what it
found is logged and done at the end: refuse, discard, hold, redirect, filter, add recipients.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from fastrelay.borders import Recipient
from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup.checks import ContentChecks, Inspection, Origin
from fastrelay.log.printable import printable
from fastrelay.rewrite._address import from_external
from fastrelay.rewrite.canonical import OneToOne
from fastrelay.rewrite.envelope import EnvelopeMapping
from fastrelay.rewrite.mapping import MappingFailed, Warnings, Where
from fastrelay.rewrite.right_hand import NO_CONTROLS
from fastrelay.smtpd.journal import Journal
from fastrelay.smtpd.settings import SmtpdSettings
from fastrelay.tables.pending import ask
from fastrelay.wire import replies

LONGEST_REASON = 400  # bytes of a table's text in a reply


class HeaderMaps:
    """canonical_maps and masquerading for header addresses, as AddressHeaders asks for them."""

    def __init__(self, one_to_one: OneToOne | None) -> None:
        self._one_to_one = one_to_one
        self.warnings = Warnings()  # of the evaluation that is running

    def __bool__(self) -> bool:
        places = (Where.HEADER_SENDER, Where.HEADER_RECIPIENT)
        return self._one_to_one is not None and any(self._one_to_one.applies(where) for where in places)

    def sender(self, external: bytes) -> bytes:
        return self._map(external, Where.HEADER_SENDER)

    def recipient(self, external: bytes) -> bytes:
        return self._map(external, Where.HEADER_RECIPIENT)

    def _map(self, external: bytes, where: Where) -> bytes:
        if not external or self._one_to_one is None or not self._one_to_one.applies(where):
            return external
        address = from_external(external)
        found = self._one_to_one.map(address, where, self.warnings)
        if found is address or found == address:
            return external
        if found.local == address.local and address.domain and found.domain:  # only that changes in the text
            return external[: -len(address.domain)] + found.domain
        return found.external


@dataclass(frozen=True, slots=True)
class Prepared:
    """One evaluation's result."""

    header: bytes
    body: bytes
    message_ids: list[tuple[bool, bytes]]
    hops: int
    inspection: Inspection | None
    recipients: list[Recipient] | None  # None: they stay
    warnings: Warnings


class ContentCheck:
    def __init__(
        self, checks: ContentChecks | None, maps: HeaderMaps, envelope: EnvelopeMapping, journal: Journal
    ) -> None:
        self._checks = checks
        self._maps = maps
        self._envelope = envelope
        self._journal = journal

    def __call__(self, session: Any, _argument: object) -> bytes | Awaitable[bytes | None] | None:
        try:
            answer = ask(self._prepare, session)
        except MappingFailed as failure:
            return self._fail(session, failure)
        if isinstance(answer, Prepared):
            return self._apply(session, answer)
        return self._wait(session, answer)

    async def _wait(self, session: Any, answer: Awaitable[Prepared]) -> bytes | None:
        try:
            return self._apply(session, await answer)
        except MappingFailed as failure:
            return self._fail(session, failure)

    def _prepare(self, session: Any) -> Prepared:
        warnings = self._maps.warnings = Warnings()
        inspection = None if self._checks is None else Inspection(self._checks, _origin(session))
        header, message_ids, hops = session.clean_header(inspection)
        body = session.transaction.body()
        recipients = None
        if inspection is not None:
            inspection.end_of_header()
            body = inspection.body(body)
            recipients = self._recipients(session, inspection, warnings)
        return Prepared(header, body, message_ids, hops, inspection, recipients, warnings)

    def _recipients(self, session: Any, inspection: Inspection, warnings: Warnings) -> list[Recipient] | None:
        if inspection.redirect:
            first = min(session.transaction.stored_recipients, key=place)
            target = self._envelope.read(inspection.redirect).external
            return [Recipient(target, first.original or first.address, first.orcpt, first.notify)]
        if not inspection.bcc:
            return None
        added: list[Recipient] = []
        for address in inspection.bcc:
            self._envelope.add_blind(added, address, warnings)
        return [*session.transaction.stored_recipients, *added]

    def _apply(self, session: Any, prepared: Prepared) -> bytes | None:
        self._journal.cleanup_warnings(prepared.warnings.lines(session.transaction.queue_id))
        inspection = prepared.inspection
        if inspection is None:
            self._journal.message_ids(session, prepared.message_ids)
        else:
            self._journal.cleanup_lines(inspection.lines)
            if inspection.failed:
                return replies.R451_QUEUE_FILE_WRITE_ERROR
            if inspection.reason:
                return refusal(inspection.reason)
            content_filter = None if inspection.redirect else inspection.filter  # REDIRECT overrides FILTER
            session.transaction.set_fate(inspection.hold, inspection.discard, content_filter)
            if prepared.recipients is not None:
                session.transaction.set_recipients(prepared.recipients)
        session.transaction.set_contents(prepared.header, prepared.body, prepared.message_ids, prepared.hops)
        return None

    def _fail(self, session: Any, failure: MappingFailed) -> bytes:
        self._journal.cleanup_warnings(failure.lines(session.transaction.queue_id))
        return replies.R451_QUEUE_FILE_WRITE_ERROR


def place(recipient: Recipient) -> tuple[bytes, bytes]:
    """Where Postfix's queue manager sorts it: what is redirected goes to the first one's place."""
    return recipient.address.rpartition(b"@")[2].lower(), recipient.address.lower()


def _origin(session: Any) -> Origin:
    transaction, client = session.transaction, session.client
    return Origin(
        transaction.queue_id,
        b"%b[%b]" % (client.name, client.address),
        transaction.sender.internal,
        transaction.recipients[-1].address,
        session.with_protocol(),
        session.helo,
    )


def refusal(reason: bytes) -> bytes:
    """The reply for a reason that begins with a DSN code; a table's text may be anything."""
    text = (
        printable(reason[:LONGEST_REASON].translate(NO_CONTROLS))
        .decode("ascii", "replace")
        .replace("\ufffd", "?")
        .encode()
    )
    return (b"451 " if text[:1] == b"4" else b"550 ") + text


def make(
    checks: ContentChecks | None, maps: HeaderMaps, envelope: EnvelopeMapping, journal: Journal
) -> ContentCheck | None:
    return ContentCheck(checks, maps, envelope, journal) if checks is not None or maps else None


def header_addresses(
    settings: SmtpdSettings, maps: HeaderMaps | None
) -> tuple[AddressHeaders, AddressHeaders | None]:
    """How header addresses are completed and mapped: for local clients, and for the others."""

    def rewriter(origin: str, domain: str) -> AddressHeaders:
        return AddressHeaders(
            origin.encode() if settings.append_at_myorigin else b"",
            domain.encode() if settings.append_dot_mydomain else b"",
            settings.swap_bangpath,
            settings.allow_percent_hack,
            token_limit=settings.header_address_token_limit,
            sender_map=maps.sender if maps else None,
            recipient_map=maps.recipient if maps else None,
        )

    theirs = settings.remote_header_rewrite_domain
    return rewriter(settings.myorigin, settings.mydomain), rewriter(theirs, theirs) if theirs else None
