"""Restriction lists, compiled at load into chains of callables: smtpd_relay_restrictions and the others.

A restriction is called with (session, candidate) and answers None (no opinion: the next one is asked),
PERMIT (the list is done), or a reply (refused). One that has to look something up far away may answer an
awaitable of these; the chain then becomes a coroutine, and only then. The names and replies are those of
postconf(5). A list that could leave the relay open is refused at start, as Postfix does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastrelay.borders import Recipient
from fastrelay.rewrite._address import Address
from fastrelay.rewrite.recipients import RecipientCheck, Unknown
from fastrelay.rewrite.resolve import AddressClass, Resolver
from fastrelay.smtpd.settings import SmtpdSettings
from fastrelay.tables import TableError
from fastrelay.tables.pending import Pending, again, ask
from fastrelay.wire.replies import R451_TABLE_FAILURE_TEXT

PERMIT = object()
Candidate = tuple[Recipient, Address]
Answer = Any  # None, PERMIT, bytes, or an awaitable of these
Restriction = Callable[[Any, Candidate], Answer]
NAMES = frozenset(
    {
        "permit_mynetworks",
        "permit",
        "permit_sasl_authenticated",
        "permit_auth_destination",
        "reject_unauth_destination",
        "defer_unauth_destination",
        "reject",
        "defer",
        "reject_unlisted_recipient",
    }
)
GUARDS = frozenset({"reject_unauth_destination", "defer_unauth_destination", "reject", "defer"})


class RestrictionError(Exception):
    """A restriction list that cannot be used; the text says which parameter and why."""


class Journal(Protocol):
    """Where a lookup that failed is told."""

    def table_failed(self, error: TableError, key: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the restrictions ask."""

    settings: SmtpdSettings
    resolver: Resolver
    recipients: RecipientCheck
    journal: Journal


def reply(code: int, dsn: bytes, recipient: Recipient, text: bytes) -> bytes:
    """`554 5.7.1 <address>: text`; the first digit of `dsn` follows the code (soft reply codes in main.cf)."""
    return b"%d %c%b <%b>: %b" % (code, b"%d" % (code // 100), dsn[1:], recipient.original, text)


def sender_of(session: Any) -> bytes:
    """b"" before MAIL too."""
    sender = session.transaction.sender
    return b"" if sender is None else bytes(sender.external)


def permit_mynetworks(session: Any, _candidate: Candidate) -> Answer:
    client = session.client
    return PERMIT if client.in_mynetworks() else None


def permit(_session: Any, _candidate: Candidate) -> Answer:
    return PERMIT


def no_opinion(_session: Any, _candidate: Candidate) -> Answer:
    """permit_sasl_authenticated: nobody has authenticated while AUTH is not offered."""
    return None


def server_error(_session: Any, _candidate: Candidate) -> Answer:
    """A restriction that is not supported refuses everybody: it may be all that keeps somebody out."""
    return b"451 4.3.5 Server configuration error"


def build(name: str, around: Surroundings) -> Restriction:
    """The callable of one word of a restriction list."""
    settings, resolver = around.settings, around.resolver

    def unauth_destination(code: int) -> Restriction:
        def restrict(session: Any, candidate: Candidate) -> Answer:
            if resolver.is_authorized_destination(candidate[1], sender_of(session)):
                return None
            return reply(code, b"5.7.1", candidate[0], b"Relay access denied")

        return restrict

    def flat(code: int, dsn: bytes, text: bytes) -> Restriction:
        return lambda _session, candidate: reply(code, dsn, candidate[0], text)

    def permit_auth_destination(session: Any, candidate: Candidate) -> Answer:
        sender = sender_of(session)
        return PERMIT if resolver.is_authorized_destination(candidate[1], sender) else None

    known: dict[str, Restriction] = {
        "permit_mynetworks": permit_mynetworks,
        "permit": permit,
        "permit_sasl_authenticated": no_opinion,
        "permit_auth_destination": permit_auth_destination,
        "reject_unauth_destination": unauth_destination(settings.relay_domains_reject_code),
        "defer_unauth_destination": unauth_destination(454),
        "reject": flat(settings.reject_code, b"5.7.1", b"Recipient address rejected: Access denied"),
        "defer": flat(settings.defer_code, b"4.3.2", b"Recipient address rejected: Try again later"),
        "reject_unlisted_recipient": unlisted_recipient(around),
    }
    assert known.keys() == NAMES
    return known.get(name.lower(), server_error)


def skips_unknown(settings: SmtpdSettings) -> bool:
    return "no_unknown_recipient_checks" in (word.lower() for word in settings.receive_override_options)


def unlisted_recipient(around: Surroundings) -> Restriction:
    """reject_unlisted_recipient: `User unknown in ... table`, never a bounce later."""
    settings = around.settings
    if skips_unknown(settings):
        return no_opinion
    codes = {
        AddressClass.LOCAL: settings.unknown_local_recipient_reject_code,
        AddressClass.RELAY: settings.unknown_relay_recipient_reject_code,
        AddressClass.VIRTUAL_ALIAS: settings.unknown_virtual_alias_reject_code,
        AddressClass.VIRTUAL_MAILBOX: settings.unknown_virtual_mailbox_reject_code,
    }

    examine = around.recipients.problem

    def restrict(session: Any, candidate: Candidate) -> Answer:
        problem: Unknown | None = examine(candidate[1], sender_of(session))
        if problem is None:
            return None
        code = 450 if problem.temporary else codes.get(problem.address_class, 550)
        text = b"Recipient address rejected: " + problem.text
        return reply(code, problem.dsn, candidate[0], text)

    return restrict


def chain(names: Sequence[str], around: Surroundings) -> tuple[Restriction, ...]:
    return tuple([build(name, around) for name in names])


def require_guard(settings: SmtpdSettings) -> None:
    """A relay without a guard is open: RestrictionError, in Postfix's words."""
    lists = (settings.smtpd_relay_restrictions, settings.smtpd_recipient_restrictions)
    if not any(name.lower() in GUARDS for words in lists for name in words):
        raise RestrictionError(
            "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one "
            "working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer"
        )


def unsupported(settings: SmtpdSettings) -> list[str]:
    """The restrictions named that there are not: with one of them a list refuses all mail that comes to it."""
    words = (*settings.smtpd_relay_restrictions, *settings.smtpd_recipient_restrictions)
    return [name for name in words if name.lower() not in NAMES]


class RecipientChecks:
    """All that is asked at RCPT: the relay list, the recipient list, and whether the recipient exists."""

    def __init__(self, around: Surroundings) -> None:
        settings = around.settings
        lists = [settings.smtpd_relay_restrictions, settings.smtpd_recipient_restrictions]
        require_guard(settings)
        if not settings.smtpd_relay_before_recipient_restrictions:
            lists.reverse()
        self._chains = [chain(words, around) for words in lists if words]
        if settings.smtpd_reject_unlisted_recipient and not skips_unknown(settings):
            self._chains.append((unlisted_recipient(around),))
        self._journal = around.journal

    def __call__(self, session: Any, candidate: Candidate) -> bytes | Awaitable[bytes | None] | None:
        """None: taken. A reply: refused. A table that cannot answer never reads as "not found"."""
        try:
            for position, restrictions in enumerate(self._chains):
                for index, restrict in enumerate(restrictions):
                    answer = restrict(session, candidate)
                    if answer is None:
                        continue
                    if answer is PERMIT:
                        break
                    if isinstance(answer, bytes):
                        return answer
                    return self._wait(session, candidate, answer, position, index + 1)
        except TableError as error:
            return self._failed(error, candidate)
        except Pending as pending:
            answer = again(pending, restrict, session, candidate)
            return self._wait(session, candidate, answer, position, index + 1)
        return None

    async def _wait(
        self, session: Any, candidate: Candidate, answer: Answer, position: int, index: int
    ) -> bytes | None:
        """Go on from a restriction that had to wait."""
        try:
            while position < len(self._chains):
                restrictions = self._chains[position]
                while True:
                    while answer is not None and answer is not PERMIT and not isinstance(answer, bytes):
                        answer = await answer
                    if isinstance(answer, bytes):
                        return answer
                    if answer is PERMIT or index >= len(restrictions):
                        break
                    answer = ask(restrictions[index], session, candidate)
                    index += 1
                position, index, answer = position + 1, 0, None
        except TableError as error:
            return self._failed(error, candidate)
        return None

    def _failed(self, error: TableError, candidate: Candidate) -> bytes:
        self._journal.table_failed(error, candidate[1].internal)
        return b"451 4.3.0 <%b>: %b" % (candidate[0].original, R451_TABLE_FAILURE_TEXT)
