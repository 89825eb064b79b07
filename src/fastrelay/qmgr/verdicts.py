"""Outcomes that the queue manager makes or changes itself: suspended, softened, expired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fastrelay.borders import Outcome, Status

SUSPENDED = b"delivery temporarily suspended: "
BY_HAND = b"message is administratively expired"
NO_SLOT = Outcome(0, Status.DEFERRED, b"4.4.5", b"no connection was free in time")


def suspend(recipients: Iterable[int], reason: Outcome) -> list[Outcome]:
    """For recipients that are not tried because their destination is dead, with Postfix's text."""
    text = SUSPENDED + reason.text
    dsn = b"4" + reason.dsn[1:]
    return [
        Outcome(n, Status.DEFERRED, dsn, text, remote_mta=reason.remote_mta, diagnostic=reason.diagnostic)
        for n in recipients
    ]


def soften(outcome: Outcome) -> None:
    """soft_bounce: what would be returned stays in the queue."""
    outcome.status = Status.DEFERRED
    outcome.dsn = b"4" + outcome.dsn[1:]


def expire(deferred: Iterable[Outcome]) -> list[Outcome]:
    return [replace(outcome, status=Status.EXPIRED) for outcome in deferred]


def administratively(recipients: Iterable[int]) -> list[Outcome]:
    """For recipients of a message that expires by hand, and that were not tried yet."""
    return [Outcome(n, Status.DEFERRED, b"4.7.0", BY_HAND) for n in recipients]


def forgotten(recipient: int) -> Outcome:
    """It failed, but the record of why is damaged."""
    return Outcome(recipient, Status.BOUNCED, b"5.0.0", b"the reason is no longer known")
