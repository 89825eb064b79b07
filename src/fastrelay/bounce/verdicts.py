"""Who is told what became of a message: pure decisions, asked before a notice is made.

The chain ends by construction: mail fails -> notice from <> -> that fails -> double bounce to the postmaster
from double_bounce_sender, if notify_classes asks for it -> that fails -> nothing (RFC 5321 4.5.5, 6.1). So
it is with delay and success: of a notice only the postmaster hears, of a double bounce nobody.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from fastrelay.borders import Outcome, Recipient
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.templates import FAILURE, SUCCESS, Template
from fastrelay.log.lines import notice_discarded, success_notice_omitted

Told = tuple[Recipient, Outcome]
"""A recipient, and what became of it or is to become of it."""


class Addressee(enum.Enum):
    """Whom the notice of a message goes to."""

    SENDER = enum.auto()
    POSTMASTER = enum.auto()  # it is a notice itself: double bounce
    NOBODY = enum.auto()  # it is a notice itself, and notify_classes does not ask for double bounces
    NOBODY_EVER = enum.auto()  # it is a double bounce


def double_bounce_sender(settings: BounceSettings) -> bytes:
    return f"{settings.double_bounce_sender}@{settings.myhostname}".encode()


def addressee(settings: BounceSettings, sender: bytes, template: Template = FAILURE) -> Addressee:
    if sender.lower() == double_bounce_sender(settings).lower():
        return Addressee.NOBODY_EVER
    if sender:
        return Addressee.SENDER
    wanted = {"2bounce"} if template is SUCCESS else {"bounce", "2bounce"}
    if wanted & set(settings.notify_classes):
        return Addressee.POSTMASTER
    return Addressee.NOBODY


def to_report(told: Sequence[Told], template: Template = FAILURE) -> list[Told]:
    """RFC 3461 4.1: without NOTIFY failure and delay are reported."""
    wanted = template.notify
    return [each for each in told if not wanted or not each[0].notify or each[0].notify & wanted]


def discard_text(
    settings: BounceSettings, sender: bytes, queue_id: bytes, template: Template = FAILURE
) -> tuple[bool, bytes] | None:
    """What to log when nobody is told, and whether it is a warning; None: Postfix says nothing either."""
    who = addressee(settings, sender, template)
    if template is SUCCESS:
        if who is Addressee.NOBODY_EVER:
            return False, success_notice_omitted(queue_id, b"double-bounce")
        return (
            (False, success_notice_omitted(queue_id, b"single-bounce")) if who is Addressee.NOBODY else None
        )
    return (True, notice_discarded(queue_id)) if who is Addressee.NOBODY_EVER else None
