from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any

from fastrelay.borders import Envelope, Recipient
from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup.received import Who
from fastrelay.rewrite._address import Address

class Status(IntEnum):
    NEED_DATA = 0
    WAIT = 1
    MESSAGE_READY = 2
    DELAY = 3
    CLOSE = 4

class Stage(IntEnum):
    HELO = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END_OF_DATA = 4
    CLEANUP = 5
    CONTENT = 6

def live_objects() -> int: ...

class SessionRules:
    myhostname: bytes
    greeting: bytes
    helo_reply: bytes
    ehlo_reply: bytes
    checks: tuple[Callable[..., Any] | None, ...]
    def __init__(
        self,
        settings: Any,
        *,
        ehlo_reply: bytes,
        checks: Iterable[Callable[..., Any] | None],
        new_id: Callable[[float], int],
        queue_name: Callable[[int], bytes],
        has_room: Callable[[int], bool],
        rewrite: Callable[[Address], Address],
        received: Callable[[Who, bytes, bytes, float], bytes],
        dates: Callable[[float], tuple[bytes, bytes]],
        is_forbidden: Callable[[bytes], bool | Awaitable[bool]],
        header_addresses: tuple[AddressHeaders | None, AddressHeaders | None] = ...,
        cleanup: Callable[..., Any] | None = None,
        content: Callable[..., Any] | None = None,
        mend: Callable[[bytes], bytes | None] | None = None,
    ) -> None: ...

class Transaction:
    sender: Address | None
    recipients: list[Recipient]
    flags: int
    envid: bytes
    size: int
    message_id: int | None
    queue_id: bytes

class Session:
    def feed(self, data: bytes, now: float) -> int: ...
    def output(self) -> bytes: ...
    def is_waiting(self) -> bool: ...
    def in_content(self) -> bool: ...
    def committed(self, now: float, refusal: bytes | None = None) -> int: ...

class ReceiveSession(Session):
    rules: SessionRules
    client: Any
    journal: Any
    waiting: Awaitable[bytes | None]
    transaction: Transaction
    helo: bytes
    protocol: bytes
    def __init__(self, rules: SessionRules, client: Any, journal: Any) -> None: ...
    def resume(self, answer: bytes | None, now: float) -> int: ...
    def proceed(self, now: float) -> int: ...
    def clean_header(self, inspector: Any) -> tuple[bytes, list[tuple[bool, bytes]], int]: ...
    def body(self) -> bytes: ...
    def set_contents(
        self, header: bytes, body: bytes, message_ids: list[tuple[bool, bytes]], hops: int
    ) -> None: ...
    def set_recipients(self, recipients: list[Recipient]) -> None: ...
    def set_fate(self, hold: bool, discard: bool, content_filter: bytes | None) -> None: ...
    @property
    def stored_recipients(self) -> list[Recipient]: ...
    def map_envelope(
        self, sender: Address, recipients: list[Recipient], expanded: tuple[Recipient, ...] = ()
    ) -> None: ...
    def take_message(self) -> tuple[int, Envelope, tuple[bytes, bytes]]: ...
    def abandon(self) -> None: ...
    def refuse(self, reply: bytes) -> None: ...
    @property
    def buffered(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    @property
    def last_verb(self) -> bytes: ...
    @property
    def with_protocol(self) -> bytes: ...
    def counts(self) -> list[tuple[bytes, int, int]]: ...
