from collections.abc import Callable

def live_objects() -> int: ...

class AddressHeaders:
    sender_map: Callable[[bytes], bytes] | None
    recipient_map: Callable[[bytes], bytes] | None
    def __init__(
        self,
        origin: bytes = b"",
        domain: bytes = b"",
        swap_bangpath: bool = True,
        percent_hack: bool = True,
        complete: bool = True,
        token_limit: int = 0,
        sender_map: Callable[[bytes], bytes] | None = None,
        recipient_map: Callable[[bytes], bytes] | None = None,
    ) -> None: ...
    def rewrite_header(self, name: bytes, value: bytes, is_sender: bool) -> bytes | None: ...
