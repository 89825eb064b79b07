"""The Received header that a message gets here, in Postfix's form (RFC 5321 4.4), and the times in it.

receive/_transaction.pyx asks once a message. Whatever the client said of itself is filtered to printable
ASCII, so nothing it sends can begin a new header. Time is passed in; its text is made once a second.
"""

from __future__ import annotations

import time

MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
DAYS = b"Mon Tue Wed Thu Fri Sat Sun".split()
WORD = bytes(c if 32 < c < 127 else 63 for c in range(256))  # HELO names: Postfix shows blanks as ? too
LONGEST_NAME = 255
CLIENTS = 256  # whose part of the header is kept at most
Who = tuple[bytes, bytes, bytes, bytes]  # HELO name, client's name, its address, protocol


def mail_date(now: float) -> bytes:
    """RFC 5322 3.3 in local time with the zone's name: `Sun, 22 Nov 2026 23:20:01 +0000 (UTC)`."""
    t = time.localtime(now)
    offset = abs(t.tm_gmtoff) // 60
    return b"%b, %02d %b %d %02d:%02d:%02d %c%02d%02d (%b)" % (
        DAYS[t.tm_wday],
        t.tm_mday,
        MONTHS[t.tm_mon - 1],
        t.tm_year,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        b"-" if t.tm_gmtoff < 0 else b"+",
        offset // 60,
        offset % 60,
        t.tm_zone.encode("ascii", "replace"),
    )


def utc_stamp(now: float) -> bytes:
    """YYYYMMDDHHMMSS, as the Message-Id that we add has it."""
    t = time.gmtime(now)
    return b"%04d%02d%02d%02d%02d%02d" % t[:6]


class Clockface:
    """The texts of the second at hand."""

    def __init__(self) -> None:
        self.second = -1
        self.date = self.stamp = b""

    def show(self, now: float) -> None:
        if not 0.0 <= now - self.second < 1.0:
            self.second, self.date, self.stamp = int(now), mail_date(now), utc_stamp(now)


class ReceivedHeader:
    """Makes the header. What it says of a client is the same for all its messages, and kept for some clients."""

    def __init__(self, myhostname: bytes, mail_name: bytes) -> None:
        self.clock = Clockface()
        self.by = b"\r\n\tby %b (%b) with " % (myhostname, mail_name)
        self.begun: dict[Who, bytes] = {}

    def make(self, who: Who, queue_id: bytes, recipient: bytes, now: float) -> bytes:
        """The whole header with its CRLF; `recipient` only when the message has just one, else b""."""
        self.clock.show(now)
        begin = self.begun.get(who) or self._begin(who)
        if recipient:
            return b"".join((begin, queue_id, b"\r\n\tfor <", recipient, b">; ", self.clock.date, b"\r\n"))
        return b"%b%b;\r\n\t%b\r\n" % (begin, queue_id, self.clock.date)

    def _begin(self, who: Who) -> bytes:
        helo, name, address, protocol = who
        if len(self.begun) >= CLIENTS:
            self.begun.clear()
        begin = self.begun[who] = b"Received: from %b (%b [%b])%b%b id " % (
            (helo or name)[:LONGEST_NAME].translate(WORD),
            name[:LONGEST_NAME].translate(WORD),
            b"IPv6:" + address if address.find(b":") >= 0 else address,  # `in` makes and drops an exception
            self.by,
            protocol,
        )
        return begin
