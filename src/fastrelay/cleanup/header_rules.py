"""What cleanup does about each header that it knows; `_headers.pyx` compiles this table into C at import.

A header that is not named here is copied as it is. RESENT is an adjective: a header that carries it makes
Postfix complete the Resent- family instead of the plain one (RFC 5322 3.6.6). Which headers are removed is
configuration: `message_drop_headers`.
"""

import enum


class Rule(enum.IntFlag):
    """What the presence of a header means."""

    FROM = 1
    DATE = 2
    MESSAGE_ID = 4
    VISIBLE_RECIPIENT = 8  # without any of these, undisclosed_recipients_header is added
    HOP = 16  # counted against hopcount_limit
    RESENT = 32
    SENDER = 64  # holds addresses, of the sender's side
    RECIPIENT = 128  # holds addresses, of the recipients' side


HEADER_RULES: dict[bytes, Rule] = {
    b"from": Rule.FROM | Rule.SENDER,
    b"date": Rule.DATE,
    b"message-id": Rule.MESSAGE_ID,
    b"to": Rule.VISIBLE_RECIPIENT | Rule.RECIPIENT,
    b"cc": Rule.VISIBLE_RECIPIENT | Rule.RECIPIENT,
    b"bcc": Rule.RECIPIENT,
    b"apparently-to": Rule.RECIPIENT,
    b"sender": Rule.SENDER,
    b"reply-to": Rule.SENDER,
    b"return-path": Rule.SENDER,
    b"errors-to": Rule.SENDER,
    b"return-receipt-to": Rule.SENDER,
    b"disposition-notification-to": Rule.SENDER,
    b"mail-followup-to": Rule.SENDER,
    b"received": Rule.HOP,
    b"resent-from": Rule.RESENT | Rule.FROM | Rule.SENDER,
    b"resent-date": Rule.RESENT | Rule.DATE,
    b"resent-message-id": Rule.RESENT | Rule.MESSAGE_ID,
    b"resent-to": Rule.RESENT | Rule.VISIBLE_RECIPIENT | Rule.RECIPIENT,
    b"resent-cc": Rule.RESENT | Rule.VISIBLE_RECIPIENT | Rule.RECIPIENT,
    b"resent-bcc": Rule.RESENT | Rule.RECIPIENT,
    b"resent-sender": Rule.RESENT | Rule.SENDER,
    b"resent-reply-to": Rule.RESENT | Rule.RECIPIENT,  # Postfix has it on this side
}
