"""Who is told that a message failed: pure decisions, asked before a notice is made.

The chain ends by construction: mail fails -> notice from <> -> that fails -> double bounce to the postmaster
from double_bounce_sender, if notify_classes asks for it -> that fails -> nothing (RFC 5321 4.5.5, 6.1).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from fastrelay.borders import Notify, Outcome, Recipient
from fastrelay.bounce.settings import BounceSettings
from fastrelay.log.lines import notice_discarded

Failure = tuple[Recipient, Outcome]


class Addressee(enum.Enum):
    """Whom the notice of a failed message goes to."""

    SENDER = enum.auto()
    POSTMASTER = enum.auto()  # a notice failed: double bounce
    NOBODY = enum.auto()  # a notice failed, and notify_classes does not ask for double bounces
    NOBODY_EVER = enum.auto()  # the double bounce itself failed


def double_bounce_sender(settings: BounceSettings) -> bytes:
    return f"{settings.double_bounce_sender}@{settings.myhostname}".encode()


def addressee(settings: BounceSettings, sender: bytes) -> Addressee:
    if sender.lower() == double_bounce_sender(settings).lower():
        return Addressee.NOBODY_EVER
    if sender:
        return Addressee.SENDER
    if {"bounce", "2bounce"} & set(settings.notify_classes):
        return Addressee.POSTMASTER
    return Addressee.NOBODY


def wants_failure(recipient: Recipient) -> bool:
    """RFC 3461 4.1: without NOTIFY a failure is reported."""
    return not recipient.notify or bool(recipient.notify & Notify.FAILURE)


def to_report(failed: Sequence[Failure]) -> list[Failure]:
    return [failure for failure in failed if wants_failure(failure[0])]


def discard_text(settings: BounceSettings, sender: bytes, queue_id: bytes) -> bytes | None:
    """The warning to log when a message ends without a notice; None: Postfix says nothing either."""
    if addressee(settings, sender) is Addressee.NOBODY_EVER:
        return notice_discarded(queue_id)
    return None
