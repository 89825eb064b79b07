"""Makes the message that says that a message failed: multipart/report (RFC 3462, 3464) in Postfix's words.

The queue manager asks through master/worker when a message has failed or expired recipients: make_notice goes
to the sender, or to the postmaster when the sender is null; make_postmaster_copy is what notify_classes =
bounce adds. Invariants: a notice is from <> or from double_bounce_sender; whatever a peer said is printable
text in it (see text); the enclosed message is in wire form and stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrelay.borders import Content, Envelope, Flag, Recipient
from fastrelay.bounce import text
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.verdicts import Addressee, Failure, addressee, double_bounce_sender, to_report
from fastrelay.cleanup.received import mail_date, utc_stamp
from fastrelay.log.lines import postmaster_notice, sender_notice

BOILERPLATE = (
    b"I'm sorry to have to inform you that your message could not",
    b"be delivered to one or more recipients. It's attached below.",
    b"",
    b"For further assistance, please send mail to postmaster.",
    b"",
    b"If you do so, please include this problem report. You can",
    b"delete your own text from the attached returned message.",
    b"",
    b"                   The mail system",
)
ATOM = bytes(c if 32 < c < 127 and c not in b'()<>@,;:\\".[]' else 45 for c in range(256))


@dataclass(frozen=True, slots=True)
class Notice:
    """A message made here, ready for the queue; `log_text` is said by `bounce` when it is durable."""

    envelope: Envelope
    content: Content
    log_text: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about, and the names it goes by."""

    settings: BounceSettings
    envelope: Envelope
    failures: Sequence[Failure]
    content: Content
    now: float
    queue_id: bytes  # of the failed message
    notice_id: bytes  # of the notice
    number: int  # message_id of the failed message, or 0 when the notice settles nothing


def make_notice(
    settings: BounceSettings,
    envelope: Envelope,
    failed: Sequence[Failure],
    content: Content,
    now: float,
    queue_id: bytes,
    notice_id: bytes,
    number: int,
) -> Notice | None:
    """The notice that settles the failed recipients, or None: nobody is to be told (see verdicts)."""
    failures = to_report(failed)
    who = addressee(settings, envelope.sender)
    if not failures or who in (Addressee.NOBODY, Addressee.NOBODY_EVER):
        return None
    about = Subject(settings, envelope, failures, content, now, queue_id, notice_id, number)
    # RFC 3461 4.3; bounce_size_limit stands above RET=FULL, as in Postfix.
    too_big = bool(settings.bounce_size_limit) and sum(map(len, content)) > settings.bounce_size_limit
    if who is Addressee.POSTMASTER:
        return compose(about, settings._2bounce_notice_recipient.encode(), too_big)
    return compose(about, b"", too_big or bool(envelope.flags & Flag.RET_HDRS))


def make_postmaster_copy(
    settings: BounceSettings,
    envelope: Envelope,
    failed: Sequence[Failure],
    content: Content,
    now: float,
    queue_id: bytes,
    notice_id: bytes,
) -> Notice | None:
    """With `bounce` in notify_classes the postmaster gets the headers of what bounced; it settles nothing."""
    failures = to_report(failed)
    if (
        not failures
        or "bounce" not in settings.notify_classes
        or addressee(settings, envelope.sender) is not Addressee.SENDER
    ):
        return None
    about = Subject(settings, envelope, failures, content, now, queue_id, notice_id, 0)
    return compose(about, settings.bounce_notice_recipient.encode(), True)


def compose(about: Subject, postmaster: bytes, headers_only: bool) -> Notice:
    """`postmaster` b"" means the sender, who gets some explaining words too."""
    settings = about.settings
    is_copy = bool(postmaster)
    recipient = _at_origin(settings, postmaster) if is_copy else about.envelope.sender
    enclosed = _headers(about.content) if headers_only else b"".join(about.content)
    utf8 = _needs_utf8(about)
    eight_bit = utf8 or not enclosed.isascii()
    boundary = _boundary(about, enclosed)
    message_id = _message_id(about)
    pieces = [
        _message_header(about, recipient, is_copy, boundary, (eight_bit, utf8), message_id),
        text.stuff(_explanation(about, is_copy, boundary, eight_bit, utf8)),
        text.stuff(_report(about, boundary, utf8)),
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
        sender=double_bounce_sender(settings) if is_copy else b"",
        recipients=[Recipient(recipient, recipient)],
        arrival=about.now,
        size=sum(map(len, pieces)),
        flags=int(flags | (about.envelope.flags & Flag.LONG_LINES)),
        message_id=message_id,
        client_name=settings.myhostname.encode(),
        notice_of=about.number,
    )
    log_text = postmaster_notice if is_copy else sender_notice
    return Notice(made, pieces, log_text(about.queue_id, about.notice_id))


def _needs_utf8(about: Subject) -> bool:
    """RFC 6533 forms only where ASCII does not do: the sender's server may know nothing of SMTPUTF8."""
    envelope = about.envelope
    if not envelope.flags & Flag.SMTPUTF8:
        return False
    addresses = [envelope.sender, *(a for r, _ in about.failures for a in (r.address, r.original))]
    return bool(envelope.flags & Flag.EIGHT_BIT_HEADER) or not all(map(bytes.isascii, addresses))


def _headers(content: Content) -> bytes:
    """The header block without the empty line; it may begin with it."""
    block = b""
    for piece in content:
        before = max(len(block) - 3, 0)
        block += bytes(piece)
        end = 0 if block.startswith(b"\r\n") else block.find(b"\r\n\r\n", before)
        if end >= 0:
            return block[: end + 2] if end else b""
    return block


def _at_origin(settings: BounceSettings, address: bytes) -> bytes:
    return address if b"@" in address else b"%b@%b" % (address, settings.myorigin.encode())


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
        b"From: Mail Delivery System <%b>" % _at_origin(settings, b"MAILER-DAEMON"),
        b"Subject: "
        + (b"Postmaster Copy: Undelivered Mail" if is_copy else b"Undelivered Mail Returned to Sender"),
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
            *BOILERPLATE,
        ]
    for recipient, outcome in about.failures:
        address = text.printable(recipient.address, utf8)
        original = text.printable(recipient.original, utf8)
        origin = (
            b" (expanded from <%b>)" % original if original and original.lower() != address.lower() else b""
        )
        lines += [b"", text.wrap(b"<%b>%b: %b" % (address, origin, text.reason(outcome.text, utf8)))]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _report(about: Subject, boundary: bytes, utf8: bool) -> bytes:
    """The part for programs: message/delivery-status, RFC 3464 2."""
    settings, envelope = about.settings, about.envelope
    kind = settings.mail_name.encode().translate(ATOM)
    sender = envelope.sender or _at_origin(settings, b"MAILER-DAEMON")
    lines = [
        b"--" + boundary,
        b"Content-Description: Delivery report",
        b"Content-Type: message/%bdelivery-status" % (b"global-" if utf8 else b""),  # RFC 6533
        b"",
        b"Reporting-MTA: dns; " + settings.myhostname.encode(),
    ]
    if envelope.envid:
        lines.append(b"Original-Envelope-Id: " + text.printable(text.from_xtext(envelope.envid)))
    lines += [
        b"X-%b-Queue-ID: %b" % (kind, about.queue_id),
        b"X-%b-Sender: %b; %b" % (kind, _address_type(sender, utf8), text.printable(sender, utf8)),
        b"Arrival-Date: " + mail_date(envelope.arrival),
    ]
    for failure in about.failures:
        lines += [b"", *_recipient_fields(failure, kind, utf8)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _recipient_fields(failure: Failure, kind: bytes, utf8: bool) -> list[bytes]:
    recipient, outcome = failure
    lines = [
        b"Final-Recipient: %b; %b"
        % (_address_type(recipient.address, utf8), text.printable(recipient.address, utf8)),
        b"Original-Recipient: " + _original_recipient(recipient, utf8),
        b"Action: " + (outcome.action or b"failed"),
        b"Status: " + text.printable(outcome.dsn),
    ]
    if outcome.remote_mta:
        lines.append(b"Remote-MTA: dns; " + text.printable(outcome.remote_mta))
    if outcome.diagnostic:
        code = b"smtp; " + text.reason(outcome.diagnostic, utf8)
    else:
        code = b"X-%b; %b" % (kind, text.reason(outcome.text, utf8))
    return [*lines, text.wrap(b"Diagnostic-Code: " + code)]


def _original_recipient(recipient: Recipient, utf8: bool) -> bytes:
    """What the client said in ORCPT, or the address that it gave at RCPT (RFC 3464 2.3.1)."""
    if recipient.orcpt:
        kind, _, address = recipient.orcpt.partition(b";")
        return b"%b;%b" % (text.printable(kind), text.printable(text.from_xtext(address), utf8))
    original = recipient.original or recipient.address
    return b"%b;%b" % (_address_type(original, utf8), text.printable(original, utf8))


def _address_type(address: bytes, utf8: bool) -> bytes:
    return b"utf-8" if utf8 and not address.isascii() else b"rfc822"


def _enclosed_header(
    about: Subject, headers_only: bool, boundary: bytes, eight_bit: bool, utf8: bool
) -> bytes:
    """The head of the third part. Return-Path is the first line of what was sent to us."""
    sender = about.envelope.sender or _at_origin(about.settings, b"MAILER-DAEMON")
    if headers_only:
        kind = b"message/global-headers" if utf8 else b"text/rfc822-headers"
    else:
        kind = b"message/global" if utf8 else b"message/rfc822"
    lines = [
        b"--" + boundary,
        b"Content-Description: Undelivered Message" + (b" Headers" if headers_only else b""),
        b"Content-Type: " + kind,
        *([b"Content-Transfer-Encoding: 8bit"] if eight_bit else []),
        b"",
        b"Return-Path: <%b>" % text.printable(sender, utf8),
    ]
    return b"\r\n".join(lines) + b"\r\n"
