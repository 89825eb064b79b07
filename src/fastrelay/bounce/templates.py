"""The three kinds of notices and their words: bounce(5)'s built-in templates.

notices.py composes what they say. `failure` tells of what bounced or expired, `delay` that delivery is still
being tried, `success` where mail has gone (NOTIFY=SUCCESS, confirm_delay_cleared).
"""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.borders import Notify

HELP = b"""\
For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.
"""
FAILURE_WORDS = b"""\
I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

"""
DELAY_WORDS = b"""\
####################################################################
# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #
####################################################################

Your message could not be delivered for more than %(delay_warning_time_hours)d hour(s).
It will be retried until it is %(maximal_queue_lifetime_days)d day(s) old.

"""
SUCCESS_WORDS = b"""\
Your message was successfully delivered to the destination(s)
listed below. If the message was delivered to mailbox you will
receive no further notifications. Otherwise you may still receive
notifications of mail delivery errors from other systems.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`notify` is what a recipient's NOTIFY must have, if it has one; 0: whoever is reported is."""

    subject: bytes
    postmaster_subject: bytes = b""
    words: bytes  # with the names that bounce(5) gives numbers
    action: bytes  # RFC 3464 2.3.3, where the outcome names none
    enclosed: bytes  # what the third part is called
    notify: int = 0
    notify_class: str = ""  # of notify_classes: the postmaster gets a copy; "": never
    kind: bytes  # in the log


FAILURE = Template(
    subject=b"Undelivered Mail Returned to Sender",
    postmaster_subject=b"Postmaster Copy: Undelivered Mail",
    words=FAILURE_WORDS + HELP,
    action=b"failed",
    enclosed=b"Undelivered Message",
    notify=int(Notify.FAILURE),
    notify_class="bounce",
    kind=b"non-delivery",
)
DELAY = Template(
    subject=b"Delayed Mail (still being retried)",
    postmaster_subject=b"Postmaster Warning: Delayed Mail",
    words=DELAY_WORDS + HELP,
    action=b"delayed",
    enclosed=b"Undelivered Message",
    notify=int(Notify.DELAY),
    notify_class="delay",
    kind=b"delay",
)
SUCCESS = Template(
    subject=b"Successful Mail Delivery Report",
    words=SUCCESS_WORDS,
    action=b"relayed",
    enclosed=b"Message",
    kind=b"delivery status",
)
