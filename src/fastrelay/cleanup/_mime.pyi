from enum import IntEnum

def live_objects() -> int: ...

class Found(IntEnum):
    MIME_HEADER = 1
    NESTED_HEADER = 2
    LINE = 3
    TOO_DEEP = 4
    EIGHT_BIT_BODY = 5
    WRONG_DOMAIN = 6

class MimeScanner:
    def __init__(
        self,
        *,
        nesting_limit: int = 100,
        boundary_limit: int = 2048,
        line_limit: int = 2048,
        body_limit: int = 51200,
        disabled: bool = False,
        want_headers: bool = False,
        want_lines: bool = False,
        report_eight_bit: bool = False,
        report_domain: bool = False,
        report_nesting: bool = False,
    ) -> None: ...
    def scan(self, headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[int, int, int]]: ...
