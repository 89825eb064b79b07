"""Postfix's words for what a remote server did, and long lines folded (smtp_trouble.c, smtp_proto.c).

Used by the agent, its sessions and the compiled dialogue; pure. Text from the network becomes printable
here: RFC 5321 4.2 allows printable ASCII only, and the mail log's readers rely on one line an event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastrelay.borders import Content, Delivery, Outcome, Status

_UNPRINTABLE = bytes(c if 32 <= c <= 126 else ord("?") for c in range(256))


def printable(text: bytes) -> bytes:
    """Newlines between reply lines become spaces, all else that does not print becomes `?`."""
    return text.replace(b"\r\n", b" ").replace(b"\n", b" ").translate(_UNPRINTABLE)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no conversation came about: one verdict for every recipient of a delivery."""

    status: Status
    dsn: bytes
    text: bytes
    relay: bytes = b"none"
    remote_mta: bytes = b""
    diagnostic: bytes = b""
    setup_delay: float = 0.0

    def outcome(self, recipient: int) -> Outcome:
        return Outcome(
            recipient,
            self.status,
            self.dsn,
            self.text,
            self.relay,
            self.setup_delay,
            0.0,
            self.remote_mta,
            self.diagnostic,
        )

    def outcomes(self, delivery: Delivery) -> list[Outcome]:
        return [self.outcome(recipient) for recipient in delivery.recipients]


def deferred(dsn: bytes, text: bytes, **more: bytes) -> Failure:
    return Failure(Status.DEFERRED, dsn, text, **more)  # type: ignore[arg-type]


def bounced(dsn: bytes, text: bytes, **more: bytes) -> Failure:
    return Failure(Status.BOUNCED, dsn, text, **more)  # type: ignore[arg-type]


_ENHANCED = re.compile(rb"([245])\.\d{1,3}\.\d{1,3}(?= |$)")


def reply_dsn(code: int, text: bytes) -> bytes:
    """The reply's enhanced code where it fits the reply's class, else x.0.0 (RFC 3463, smtp_chat.c)."""
    found = _ENHANCED.match(text)
    first = b"%d" % (code // 100)
    if found and found[1] == first:
        return found[0]
    return first + b".0.0"


def fold_lines(content: Content, limit: int) -> bytes:
    """Longer lines broken by CRLF SP, as smtp_text_out() does; a stuffed dot is not counted."""
    lines = b"".join(content).split(b"\r\n")
    return b"\r\n".join([line if len(line) <= limit else _fold_line(line, limit) for line in lines])


def _fold_line(line: bytes, limit: int) -> bytes:
    first = limit + line.startswith(b".")
    if len(line) <= first:
        return line
    rest = [line[i : i + limit - 1] for i in range(first, len(line), limit - 1)]
    return b"\r\n ".join([line[:first], *rest])
