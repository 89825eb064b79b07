"""What a receive session must answer, slowly and obviously: the oracle of ReceiveSession.

It is driven by whole events instead of bytes: a command with its argument, a message's end, a check's
verdict. Its whole state is `open` (the transaction, or None) and a few counters; a transaction ends by
setting it to None, in one place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

HOST = b"mx.local.example"


@dataclass
class Open:
    """A transaction."""

    sender: bytes
    flags: frozenset[bytes]
    recipients: list[bytes] = field(default_factory=list)


class SessionReference:
    """`checks` maps a stage (mail, rcpt, data, end) to the refusal that the next check gives, or None."""

    def __init__(self, soft: int, hard: int, junk: int, recipient_limit: int, overshoot: int) -> None:
        self.hard, self.junk_limit = hard, junk
        self.recipient_limit, self.overshoot_limit = recipient_limit, overshoot
        self.open: Open | None = None
        self.chunks: str = ""  # "", "good", "bad"
        self.chunk_bytes = self.overshoot = self.errors = self.junk = 0
        self.is_closed = False
        self.queued: list[Open] = []

    def end(self) -> None:
        self.open, self.chunks, self.chunk_bytes, self.overshoot = None, "", 0, 0

    def say(self, reply: bytes, counts: bool = True) -> list[bytes]:
        """The reply, and the 421 behind it when it is one error too many."""
        if counts and reply[:1] in b"45":
            self.errors += 1
        return self.judge([reply])

    def judge(self, replies: list[bytes]) -> list[bytes]:
        if self.errors >= self.hard and not self.is_closed:
            self.is_closed = True
            self.end()
            replies.append(b"421 4.7.0 %b Error: too many errors" % HOST)
        return replies

    def trash(self) -> None:
        self.junk += 1
        if self.junk > self.junk_limit + 1:
            self.errors += 1

    # One method a command; each answers the lines that begin its reply.

    def hello(self) -> list[bytes]:
        self.trash()
        self.end()
        return self.say(b"250")

    def mail(self, sender: bytes, flags: frozenset[bytes], refusal: bytes | None, room: bool) -> list[bytes]:
        if self.open is not None:
            return self.say(b"503 5.5.1 Error: nested MAIL command")
        if self.chunks:
            return self.say(b"503 5.5.1 Error: MAIL after BDAT")
        if refusal is not None:
            return self.say(refusal)
        if not room:
            return self.say(b"452 4.3.1 Insufficient system storage")
        self.open = Open(sender, flags)
        return self.say(b"250 2.1.0 Ok")

    def rcpt(self, recipient: bytes, refusal: bytes | None) -> list[bytes]:
        if self.open is None:
            return self.say(b"503 5.5.1 Error: need MAIL command")
        if self.chunks:
            return self.say(b"503 5.5.1 Error: RCPT after BDAT")
        if len(self.open.recipients) >= self.recipient_limit:
            self.overshoot += 1
            return self.say(b"452 4.5.3 Error: too many recipients", self.overshoot > self.overshoot_limit)
        if refusal is not None:
            return self.say(refusal)
        self.open.recipients.append(recipient)
        return self.say(b"250 2.1.5 Ok")

    def data(self, refusal: bytes | None, end_refusal: bytes | None, commit: bytes | None) -> list[bytes]:
        """DATA and, when it goes ahead, the whole contents."""
        if self.chunks:
            return self.say(b"503 5.5.1 Error: DATA after BDAT")
        if self.open is None:
            return self.say(b"503 5.5.1 Error: need RCPT command")
        if not self.open.recipients:
            return self.say(b"554 5.5.1 Error: no valid recipients")
        if refusal is not None:
            return self.say(refusal)
        return [b"354", *self.message_ended(end_refusal, commit)]

    def message_ended(self, end_refusal: bytes | None, commit: bytes | None) -> list[bytes]:
        message = self.open
        assert message is not None
        self.end()
        if end_refusal is not None:
            return self.say(end_refusal)
        if commit is not None:
            return self.judge([commit])
        self.queued.append(Open(message.sender, message.flags, list(dict.fromkeys(message.recipients))))
        self.errors = self.junk = 0
        return self.say(b"250 2.0.0 Ok:")

    def bdat(self, size: int, last: bool, end_refusal: bytes | None, commit: bytes | None) -> list[bytes]:
        refusal = self.chunk_refusal(size)
        if refusal is None:
            self.chunks = "good"
            self.chunk_bytes += size
            return (
                self.message_ended(end_refusal, commit)
                if last
                else self.say(b"250 2.0.0 Ok: %d bytes" % size)
            )
        if last:
            self.end()
        else:
            self.chunks = "bad"
        return self.say(refusal)

    def chunk_refusal(self, size: int) -> bytes | None:
        if self.chunks == "bad":
            return b"551 5.0.0 Discarded %d bytes after earlier error" % size
        if self.open is None:
            return b"503 5.5.1 Error: need RCPT command"
        if not self.open.recipients:
            return b"554 5.5.1 Error: no valid recipients"
        return None

    def rset(self) -> list[bytes]:
        self.trash()
        self.end()
        return self.say(b"250 2.0.0 Ok")

    def noop(self) -> list[bytes]:
        self.trash()
        return self.say(b"250 2.0.0 Ok")

    def vrfy(self, address: bytes) -> list[bytes]:
        self.trash()
        return self.say(b"252 2.0.0 " + address)

    def wrong(self, reply: bytes) -> list[bytes]:
        """A command that is an error wherever it comes."""
        return self.say(reply)

    def quit(self) -> list[bytes]:
        self.is_closed = True
        self.end()
        return [b"221 2.0.0 Bye"]


def counts_text(counts: Iterable[tuple[bytes, int, int]]) -> bytes:
    """What Session.counts() makes of (command, accepted, seen), in the order of Postfix's command table."""
    parts = []
    accepted = total = 0
    for command, good, seen in counts:
        parts.append(b" %b=%d" % (command, good) if good == seen else b" %b=%d/%d" % (command, good, seen))
        accepted += good
        total += seen
    all_good = accepted == total and total
    return b"".join(parts) + (b" commands=%d" % total if all_good else b" commands=%d/%d" % (accepted, total))
