"""The part of a notice that programs read: message/delivery-status (RFC 3464 2), in Postfix's form.

notices.py puts it between the words for people and the message itself. Invariant: whatever a peer said is
printable text in it (see text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrelay.borders import Content, Envelope, Flag, Outcome, Recipient, Status
from fastrelay.bounce import text
from fastrelay.bounce.settings import BounceSettings
from fastrelay.bounce.templates import DELAY, Template
from fastrelay.bounce.verdicts import Told
from fastrelay.cleanup.received import mail_date

ATOM = bytes(c if 32 < c < 127 and c not in b'()<>@,;:\\".[]' else 45 for c in range(256))
FORWARDED = b"forwarded as "  # local(8) on an alias: whom the mail goes to is not the sender's business


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about, and the names it goes by."""

    template: Template
    settings: BounceSettings
    envelope: Envelope
    told: Sequence[Told]
    content: Content
    now: float
    queue_id: bytes  # of the message
    notice_id: bytes  # of the notice
    number: int  # message_id of the message, or 0 when the notice settles nothing


def delivery_report(about: Subject, boundary: bytes, utf8: bool) -> bytes:
    settings, envelope = about.settings, about.envelope
    kind = settings.mail_name.encode().translate(ATOM)
    sender = envelope.sender or at_origin(settings, b"MAILER-DAEMON")
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
    for each in about.told:
        lines += [b"", *_recipient_fields(about, each, kind, utf8)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _recipient_fields(about: Subject, each: Told, kind: bytes, utf8: bool) -> list[bytes]:
    recipient, outcome = each
    lines = [
        b"Final-Recipient: %b; %b"
        % (_address_type(recipient.address, utf8), text.printable(recipient.address, utf8)),
        b"Original-Recipient: " + _original_recipient(recipient, utf8),
        b"Action: " + (outcome.action or about.template.action),
        b"Status: " + text.printable(outcome.dsn),
    ]
    if outcome.remote_mta:
        lines.append(b"Remote-MTA: dns; " + text.printable(outcome.remote_mta))
    if outcome.diagnostic:
        code = b"smtp; " + text.reason(outcome.diagnostic, utf8)
    else:
        code = b"X-%b; %b" % (kind, text.reason(said(outcome), utf8))
    lines.append(text.wrap(b"Diagnostic-Code: " + code))
    if about.template is DELAY:
        until = about.envelope.arrival + about.settings.maximal_queue_lifetime
        lines.append(b"Will-Retry-Until: " + mail_date(until))
    return lines


def said(outcome: Outcome) -> bytes:
    """Why, or where it went."""
    if outcome.status is not Status.SENT:
        return outcome.text
    reason = b"alias expanded" if outcome.text.startswith(FORWARDED) else outcome.text
    return reason if outcome.relay == b"none" else b"delivery via %b: %b" % (outcome.relay, reason)


def _original_recipient(recipient: Recipient, utf8: bool) -> bytes:
    """What the client said in ORCPT, or the address that it gave at RCPT (RFC 3464 2.3.1)."""
    if recipient.orcpt:
        kind, _, address = recipient.orcpt.partition(b";")
        return b"%b;%b" % (text.printable(kind), text.printable(text.from_xtext(address), utf8))
    original = recipient.original or recipient.address
    return b"%b;%b" % (_address_type(original, utf8), text.printable(original, utf8))


def _address_type(address: bytes, utf8: bool) -> bytes:
    return b"utf-8" if utf8 and not address.isascii() else b"rfc822"


def needs_utf8(about: Subject) -> bool:
    """RFC 6533 forms only where ASCII does not do: the sender's server may know nothing of SMTPUTF8."""
    envelope = about.envelope
    if not envelope.flags & Flag.SMTPUTF8:
        return False
    addresses = [envelope.sender, *(a for r, _ in about.told for a in (r.address, r.original))]
    return bool(envelope.flags & Flag.EIGHT_BIT_HEADER) or not all(map(bytes.isascii, addresses))


def at_origin(settings: BounceSettings, address: bytes) -> bytes:
    return address if b"@" in address else b"%b@%b" % (address, settings.myorigin.encode())
