from typing import Any

from fastrelay.receive._session import Session

class ReceiveSession(Session):
    helo: bytes
    protocol: bytes
    def clean_header(self, inspector: Any) -> tuple[bytes, list[tuple[bool, bytes]], int]: ...
    def with_protocol(self) -> bytes: ...
