from fastrelay.borders import Recipient
from fastrelay.rewrite._address import Address

class Transaction:
    sender: Address | None
    recipients: list[Recipient]
    flags: int
    envid: bytes
    size: int
    message_id: int | None
    queue_id: bytes
    def map_envelope(
        self, sender: Address, recipients: list[Recipient], expanded: tuple[Recipient, ...] = ()
    ) -> None: ...
    def body(self) -> bytes: ...
    def set_contents(
        self, header: bytes, body: bytes, message_ids: list[tuple[bool, bytes]], hops: int
    ) -> None: ...
    @property
    def stored_recipients(self) -> list[Recipient]: ...
    def set_recipients(self, recipients: list[Recipient]) -> None: ...
    def set_fate(self, hold: bool, discard: bool, content_filter: bytes | None) -> None: ...
