from collections.abc import Iterable

from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup._contents import ContentScanner
from fastrelay.cleanup.checks import Inspection

def live_objects() -> int: ...

class HeaderCleaner:
    hops: int
    message_ids: list[tuple[bool, bytes]]
    def __init__(
        self, drop_headers: Iterable[bytes], header_size_limit: int, undisclosed_header: bytes, host: bytes
    ) -> None: ...
    def clean_header(
        self,
        content: ContentScanner,
        received: bytes,
        add_missing: bool = False,
        sender: bytes = b"",
        queue_id: bytes = b"",
        date: bytes = b"",
        stamp: bytes = b"",
        addresses: AddressHeaders | None = None,
        inspector: Inspection | None = None,
    ) -> bytes: ...
