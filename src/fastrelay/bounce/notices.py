"""Makes the message that says what became of another: multipart/report (RFC 3462, 3464) in Postfix's words.

The queue manager asks through master/notifier at the end of a pass. make_notice goes to the sender, or to
the postmaster when the sender is null; make_postmaster_copy is what notify_classes = bounce, delay adds.
Invariants: a notice is from <> or from double_bounce_sender; whatever a peer said is printable text in it (see
text); the enclosed message is in wire form and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fastrelay.borders import Content, Envelope, Flag, Recipient
from fastrelay.bounce import text
from fastrelay.bounce.report import Subject, at_origin, delivery_report, needs_utf8, said
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.templates import DELAY, FAILURE, SUCCESS, Template
from fastrelay.bounce.verdicts import Addressee, addressee, double_bounce_sender, to_report
from fastrelay.cleanup.received import mail_date, utc_stamp
from fastrelay.log.lines import postmaster_notice, sender_notice


@dataclass(frozen=True, slots=True)
class Notice:
    """A message made here, ready for the queue; `log_text` is said by `bounce` when it is durable."""

    envelope: Envelope
    content: Content
    log_text: bytes


def make_notice(about: Subject) -> Notice | None:
    """The notice that settles these recipients, or None: nobody is to be told (see verdicts)."""
    settings, envelope, template = about.settings, about.envelope, about.template
    report = to_report(about.told, template)
    who = addressee(settings, envelope.sender, template)
    if not report or who in (Addressee.NOBODY, Addressee.NOBODY_EVER):
        return None
    about = replace(about, told=report)
    headers_only = headers_suffice(settings, envelope, template)
    if who is Addressee.POSTMASTER:
        postmaster = settings._2bounce_notice_recipient.encode()
        return compose(about, postmaster, template is not SUCCESS, headers_only)
    return compose(about, b"", False, headers_only or bool(envelope.flags & Flag.RET_HDRS))


def headers_suffice(settings: BounceSettings, envelope: Envelope, template: Template) -> bool:
    """bounce_size_limit stands above RET=FULL, as in Postfix; what succeeds or waits is not returned (RFC 3461 4.3)."""
    return template is not FAILURE or 0 < settings.bounce_size_limit < envelope.size


def make_postmaster_copy(about: Subject) -> Notice | None:
    """With `bounce`, `delay` in notify_classes the postmaster gets the headers; it settles nothing.

    Of what is delayed the postmaster hears even if NOTIFY keeps it from the sender.
    """
    settings, template = about.settings, about.template
    report = about.told if template is DELAY else to_report(about.told, template)
    if (
        not report
        or template.notify_class not in settings.notify_classes
        or addressee(settings, about.envelope.sender, template) is not Addressee.SENDER
    ):
        return None
    postmaster = settings.delay_notice_recipient if template is DELAY else settings.bounce_notice_recipient
    return compose(replace(about, told=report, number=0), postmaster.encode(), True, True)


def compose(about: Subject, postmaster: bytes, is_copy: bool, headers_only: bool) -> Notice:
    """`postmaster` b"": it goes to the sender. A copy has another subject and no explaining words."""
    settings, template = about.settings, about.template
    recipient = at_origin(settings, postmaster) if postmaster else about.envelope.sender
    enclosed = header_block(about.content) if headers_only else b"".join(about.content)
    utf8 = needs_utf8(about)
    eight_bit = utf8 or not enclosed.isascii()
    boundary = _boundary(about, enclosed)
    message_id = _message_id(about)
    pieces = [
        _message_header(about, recipient, is_copy, boundary, (eight_bit, utf8), message_id),
        text.stuff(_explanation(about, is_copy, boundary, eight_bit, utf8)),
        text.stuff(delivery_report(about, boundary, utf8)),
        _enclosed_header(about, headers_only, boundary, eight_bit, utf8),
        enclosed,
        b"\r\n--%b--\r\n" % boundary,
    ]
    flags = Flag(0)
    if eight_bit:
        flags |= Flag.EIGHT_BIT_BODY | Flag.BODY_8BITMIME
    if utf8:
        flags |= Flag.SMTPUTF8
    made = Envelope(
        sender=double_bounce_sender(settings) if postmaster else b"",
        recipients=[Recipient(recipient, recipient)],
        arrival=about.now,
        size=sum(map(len, pieces)),
        flags=int(flags | (about.envelope.flags & Flag.LONG_LINES)),
        message_id=message_id,
        client_name=settings.myhostname.encode(),
        notice_of=about.number,
    )
    log_text = postmaster_notice if is_copy else sender_notice
    return Notice(made, pieces, log_text(about.queue_id, about.notice_id, template.kind))


def header_block(content: Iterable[bytes | memoryview]) -> bytes:
    """The header block without the empty line, which the contents may begin with."""
    block = b""
    for piece in content:
        before = max(len(block) - 3, 0)
        block += bytes(piece)
        end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n", before)
        if end >= 0:
            return block[: end + 2] if end else b""
    return block


def _boundary(about: Subject, enclosed: bytes) -> bytes:
    boundary = b"%b.%d/%b" % (about.queue_id, about.now, about.settings.myhostname.encode())
    while boundary in enclosed:
        boundary += b"="
    return boundary


def _message_id(about: Subject) -> bytes:
    stamp = b"" if about.settings.enable_long_queue_ids else utc_stamp(about.now) + b"."
    return b"<%b%b@%b>" % (stamp, about.notice_id, about.settings.myhostname.encode())


def _message_header(
    about: Subject,
    recipient: bytes,
    is_copy: bool,
    boundary: bytes,
    encoding: tuple[bool, bool],
    message_id: bytes,
) -> bytes:
    settings = about.settings
    eight_bit, utf8 = encoding
    date = mail_date(about.now)
    lines = [
        b"Received: by %b (%b)" % (settings.myhostname.encode(), settings.mail_name.encode()),
        b"\tid %b; %b" % (about.notice_id, date),
        b"Date: %b" % date,
        b"From: Mail Delivery System <%b>" % at_origin(settings, b"MAILER-DAEMON"),
        b"Subject: " + (about.template.postmaster_subject if is_copy else about.template.subject),
        b"To: %b" % text.printable(recipient, utf8),
        b"Auto-Submitted: " + (b"auto-generated" if is_copy else b"auto-replied"),  # RFC 3834 5
        b"MIME-Version: 1.0",
        b"Content-Type: multipart/report; report-type=delivery-status;",
        b'\tboundary="%b"' % boundary,
        b"Content-Transfer-Encoding: " + (b"8bit" if eight_bit else b"7bit"),
        b"Message-Id: " + message_id,
        b"",
        b"This is a MIME-encapsulated message.",
        b"",
    ]
    return b"\r\n".join(lines) + b"\r\n"


def _explanation(about: Subject, is_copy: bool, boundary: bytes, eight_bit: bool, utf8: bool) -> bytes:
    """The part for people."""
    lines = [
        b"--" + boundary,
        b"Content-Description: Notification",
        b"Content-Type: text/plain; charset=" + (b"utf-8" if eight_bit else b"us-ascii"),
        *([b"Content-Transfer-Encoding: 8bit"] if eight_bit else []),
        b"",
    ]
    if not is_copy:
        lines += [
            b"This is the mail system at host %b." % about.settings.myhostname.encode(),
            b"",
            *_words(about),
            b"                   The mail system",
        ]
    for recipient, outcome in about.told:
        address = text.printable(recipient.address, utf8)
        original = text.printable(recipient.original, utf8)
        origin = (
            b" (expanded from <%b>)" % original if original and original.lower() != address.lower() else b""
        )
        lines += [b"", text.wrap(b"<%b>%b: %b" % (address, origin, text.reason(said(outcome), utf8)))]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _words(about: Subject) -> list[bytes]:
    """The template's text with its numbers."""
    settings = about.settings
    numbers = {
        b"delay_warning_time_hours": settings.delay_warning_time // 3600,
        b"maximal_queue_lifetime_days": settings.maximal_queue_lifetime // 86400,
    }
    return (about.template.words % numbers).split(b"\n")


def _enclosed_header(
    about: Subject, headers_only: bool, boundary: bytes, eight_bit: bool, utf8: bool
) -> bytes:
    """The head of the third part. Return-Path is the first line of what was sent to us."""
    sender = about.envelope.sender or at_origin(about.settings, b"MAILER-DAEMON")
    if headers_only:
        kind = b"message/global-headers" if utf8 else b"text/rfc822-headers"
    else:
        kind = b"message/global" if utf8 else b"message/rfc822"
    lines = [
        b"--" + boundary,
        b"Content-Description: %b%b" % (about.template.enclosed, b" Headers" if headers_only else b""),
        b"Content-Type: " + kind,
        *([b"Content-Transfer-Encoding: 8bit"] if eight_bit else []),
        b"",
        b"Return-Path: <%b>" % text.printable(sender, utf8),
    ]
    return b"\r\n".join(lines) + b"\r\n"
