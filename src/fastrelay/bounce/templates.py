"""The three kinds of notices and their words: bounce(5)'s built-in templates.

notices.py composes what they say. `failure` tells of what bounced or expired, `delay` that delivery is still
being tried, `success` where mail has gone (NOTIFY=SUCCESS, confirm_delay_cleared).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastrelay.borders import Notify
from fastrelay.bounce.settings import BounceSettings

HOUR, DAY = 3600, 86400
HELP = (
    b"For further assistance, please send mail to postmaster.",
    b"",
    b"If you do so, please include this problem report. You can",
    b"delete your own text from the attached returned message.",
    b"",
)


@dataclass(frozen=True, slots=True)
class Template:
    """`notify` is what a recipient's NOTIFY must have, if it has one; 0: whoever is reported is."""

    subject: bytes
    postmaster_subject: bytes
    words: Callable[[BounceSettings], tuple[bytes, ...]]
    action: bytes  # RFC 3464 2.3.3, where the outcome names none
    enclosed: bytes  # what the third part is called
    notify: int
    kind: bytes  # in the log


def failure_words(_settings: BounceSettings) -> tuple[bytes, ...]:
    return (
        b"I'm sorry to have to inform you that your message could not",
        b"be delivered to one or more recipients. It's attached below.",
        b"",
        *HELP,
    )


def delay_words(settings: BounceSettings) -> tuple[bytes, ...]:
    return (
        b"####################################################################",
        b"# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #",
        b"####################################################################",
        b"",
        b"Your message could not be delivered for more than %d hour(s)."
        % (settings.delay_warning_time // HOUR),
        b"It will be retried until it is %d day(s) old." % (settings.maximal_queue_lifetime // DAY),
        b"",
        *HELP,
    )


def success_words(_settings: BounceSettings) -> tuple[bytes, ...]:
    return (
        b"Your message was successfully delivered to the destination(s)",
        b"listed below. If the message was delivered to mailbox you will",
        b"receive no further notifications. Otherwise you may still receive",
        b"notifications of mail delivery errors from other systems.",
        b"",
    )


FAILURE = Template(
    b"Undelivered Mail Returned to Sender",
    b"Postmaster Copy: Undelivered Mail",
    failure_words,
    b"failed",
    b"Undelivered Message",
    int(Notify.FAILURE),
    b"non-delivery",
)
DELAY = Template(
    b"Delayed Mail (still being retried)",
    b"Postmaster Warning: Delayed Mail",
    delay_words,
    b"delayed",
    b"Undelivered Message",
    int(Notify.DELAY),
    b"delay",
)
SUCCESS = Template(
    b"Successful Mail Delivery Report",
    b"",  # the postmaster gets no copy
    success_words,
    b"relayed",
    b"Message",
    0,
    b"delivery status",
)
