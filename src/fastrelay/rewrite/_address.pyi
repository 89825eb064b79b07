from enum import IntEnum

class PathResult(IntEnum):
    PATH_OK = 0
    PATH_MISSING = 1
    PATH_BAD_SYNTAX = 2
    PATH_NULL_REFUSED = 3
    PATH_TOO_LONG = 4
    PATH_BAD_LOCAL = 5
    PATH_BAD_DOMAIN = 6
    PATH_UTF8_DOMAIN = 7
    PATH_UTF8_LOCAL = 8
    PATH_BAD_UTF8 = 9

class PathFlag(IntEnum):
    PATH_STRICT = 1
    PATH_UTF8 = 2
    PATH_ALLOW_NULL = 4
    PATH_ALLOW_HYPHEN = 8

class Address:
    def __init__(self, local: bytes, domain: bytes = b"") -> None: ...
    @property
    def local(self) -> bytes: ...
    @property
    def domain(self) -> bytes: ...
    @property
    def external(self) -> bytes: ...
    @property
    def internal(self) -> bytes: ...
    @property
    def is_null(self) -> bool: ...

def parse_path(
    text: bytes,
    *,
    strict: bool = False,
    smtputf8: bool = False,
    allow_null: bool = False,
    allow_hyphen: bool = False,
) -> Address | PathResult: ...
def split_path(
    text: bytes,
    *,
    strict: bool = False,
    smtputf8: bool = False,
    allow_null: bool = False,
    allow_hyphen: bool = False,
) -> tuple[Address | PathResult, int]: ...
def from_external(external: bytes) -> Address: ...
def live_objects() -> int: ...
