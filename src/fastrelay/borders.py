"""The nouns that cross the borders between rooms, and nothing else.

Envelope and Recipient travel with a message from reception to delivery; Route says where a recipient
goes; Delivery is one envelope, one next hop and some recipients, due now; Outcome is one recipient's
verdict. All addresses are `bytes` in canonical external form (RFC 5321 4.1.2, quoted only where they
must be): what is stored is what is sent and logged.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Content = Sequence[bytes | memoryview]
"""A message's contents in wire form (CRLF, dot-stuffed, ends in CRLF, without the final dot), in pieces."""


class Flag(enum.IntFlag):
    """What was seen in the contents or asked for at MAIL."""

    EIGHT_BIT_BODY = 1  # a byte above 127 after the header
    EIGHT_BIT_HEADER = 2  # a byte above 127 in the header
    LONG_LINES = 4  # a line above 998 bytes: delivery may have to fold it
    SMTPUTF8 = 8  # MAIL ... SMTPUTF8 (RFC 6531)
    BODY_8BITMIME = 16  # MAIL ... BODY=8BITMIME (RFC 6152)
    BODY_7BIT = 32  # MAIL ... BODY=7BIT
    RET_FULL = 64  # MAIL ... RET=FULL (RFC 3461)
    RET_HDRS = 128  # MAIL ... RET=HDRS


class Notify(enum.IntFlag):
    """RCPT ... NOTIFY= (RFC 3461 4.1); 0 when the client gave none."""

    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


@dataclass
class Recipient:
    """One recipient: `address` is delivered to, `original` is what the client gave, `orcpt` is xtext as given."""

    address: bytes
    original: bytes = b""
    orcpt: bytes = b""
    notify: int = 0


@dataclass
class Envelope:
    """Everything about a message but its contents. `sender` b"" is the null sender; times are epoch seconds."""

    sender: bytes
    recipients: list[Recipient]
    arrival: float
    size: int = 0  # bytes of the contents as Postfix counts them
    flags: int = 0
    envid: bytes = b""  # xtext as given
    message_id: bytes = b""  # for the log
    client_name: bytes = b"unknown"
    client_address: bytes = b""
    helo: bytes = b""
    protocol: bytes = b""  # SMTP, ESMTP, UTF8SMTP, ...; b"" for mail made here
    notice_of: int = 0  # message_id number of the message that this is the notice of; 0: not a notice
    content_filter: bytes = b""  # transport:next_hop that every recipient goes to instead of its own
    hold: bool = False  # it is to be put on hold as it arrives; not stored
    expanded: tuple[Recipient, ...] = ()  # aliases that NOTIFY=SUCCESS asked about; members stand for them


@dataclass(frozen=True)
class Route:
    """Where a recipient goes: the delivery transport of master.cf, its next hop, and the address to deliver to."""

    transport: bytes
    next_hop: bytes
    recipient: bytes


class Status(enum.IntEnum):
    """A recipient's verdict, in Postfix's words for `status=` in the log."""

    SENT = 1
    DEFERRED = 2
    BOUNCED = 3
    EXPIRED = 4


@dataclass
class Outcome:
    """What became of one recipient in one try.

    `text` is the reason as Postfix logs it inside `status=sent (...)`, printable bytes only.
    `relay` is `host[address]:port`, `none`, `local`, ... `delays` are the c and d of `delays=a/b/c/d`
    (connection set-up and transmission, seconds). The remote fields feed RFC 3464 notices.
    """

    recipient: int  # index into Envelope.recipients
    status: Status
    dsn: bytes  # "2.0.0"
    text: bytes
    relay: bytes = b"none"
    setup_delay: float = 0.0
    transmission_delay: float = 0.0
    remote_mta: bytes = b""  # "mx.example", for Remote-MTA: dns;
    diagnostic: bytes = b""  # "550 5.1.1 no such user", for Diagnostic-Code: smtp;
    action: bytes = b""  # the DSN's Action when SENT; b"": the next hop tells (RFC 3461 5.2.2)
    notice: bool = False  # SENT, and the sender is to be told


@dataclass(eq=False)
class QueuedMessage:
    """A message in the active queue: the index entry and what was loaded of it."""

    entry: Any  # queue.Entry
    queue_id: bytes
    envelope: Envelope
    content: Content | None  # None: not in memory, ask `load`
    load: Callable[[], Content]  # reads the contents back from the queue
    activated: float = 0.0  # when the queue manager took it
    pending: int = 0  # deliveries not yet reported


@dataclass(eq=False)
class Delivery:
    """One envelope, one next hop, some recipients (indices into the envelope), due now."""

    message: QueuedMessage
    transport: bytes
    next_hop: bytes
    recipients: list[int]
    addresses: list[bytes] = field(default_factory=list)  # what to deliver to, parallel to recipients
    started: float = 0.0  # when an agent took it: the b of delays=a/b/c/d


class DestinationQueue(Protocol):
    """What an agent sees of a destination: the scheduler's side of one (transport, next hop)."""

    transport: bytes
    next_hop: bytes

    def take(self) -> Delivery | None:
        """The next delivery to make, or None: there is none, or the slot is to close."""

    def release(self) -> None:
        """The agent's slot is closed; each call of `Agent.open_slot` is answered by exactly one release."""

    def succeeded(self) -> None:
        """The destination took a delivery or refused it in good order: positive concurrency feedback."""

    def failed(self, outcome: Outcome) -> None:
        """Connecting or the handshake failed: negative feedback; `outcome` tells the others why."""


class Agent(Protocol):
    """A delivery agent (smtp, local, virtual, error, discard, ...)."""

    def open_slot(self, queue: DestinationQueue) -> None:
        """Start delivering: take() until None, report() each delivery once, then release() once."""

    async def close(self) -> None:
        """End idle connections; deliveries under way are given up to the caller's time limit."""


Report = Callable[[Delivery, list[Outcome]], None]
"""Called once a delivery with one Outcome for each of its recipients."""
