from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any

from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup.received import ReceivedHeader
from fastrelay.rewrite._address import Address

class Stage(IntEnum):
    HELO = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END_OF_DATA = 4
    CLEANUP = 5
    CONTENT = 6

class SessionRules:
    myhostname: bytes
    greeting: bytes
    helo_reply: bytes
    ehlo_reply: bytes
    checks: tuple[Callable[..., Any] | None, ...]
    coming: int
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
        received: ReceivedHeader,
        is_forbidden: Callable[[bytes], bool | Awaitable[bool]],
        header_addresses: tuple[AddressHeaders | None, AddressHeaders | None] = ...,
        cleanup: Callable[..., Any] | None = None,
        content: Callable[..., Any] | None = None,
        mend: Callable[[bytes], bytes | None] | None = None,
    ) -> None: ...
