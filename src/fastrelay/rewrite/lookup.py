"""The keys under which an address is looked up in a table, and in which order (ADDRESS_..., transport(5)).

resolve.py and recipients.py build on it. Keys are internal (unquoted); the tables
fold them to lower case. A key that is only a part of the address is not shown to tables that match
patterns, so that a pattern for a domain is not tried on a user name (Postfix's DICT_FLAG_FIXED).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

UNSPLIT = frozenset({b"postmaster", b"mailer-daemon"})


class Table(Protocol):
    """tables.Table."""

    @property
    def pattern(self) -> bool: ...
    @property
    def constant(self) -> bool: ...
    @property
    def version(self) -> object: ...
    def get(self, key: bytes, /) -> bytes | None: ...


class Lookup(Protocol):
    """tables.Maps."""

    @property
    def tables(self) -> Sequence[Table]: ...
    def find(self, key: bytes, /) -> bytes | None: ...


class Matcher(Protocol):
    """tables.matching.DomainMatcher."""

    @property
    def tables(self) -> Sequence[Table]: ...
    def matches(self, domain: bytes, /) -> bool: ...


class AddressMaps:
    """A parameter's tables, asked for addresses. False when the parameter names none."""

    __slots__ = ("_count", "_whole", "find")

    def __init__(self, maps: Lookup) -> None:
        self.find = maps.find
        self._count = len(maps.tables)
        self._whole = [table.get for table in maps.tables if not table.pattern]

    def __bool__(self) -> bool:
        return self._count > 0

    def find_partial(self, key: bytes) -> bytes | None:
        """The first answer of a table that holds whole keys."""
        for get in self._whole:
            if (value := get(key)) is not None:
                return value
        return None

    def find_address(self, local: bytes, domain: bytes, user: bytes, is_local: bool) -> bytes | None:
        """mail_addr_find(3): user+ext@domain, user@domain, for our domains user+ext and user, then @domain.

        `user` is the local part without its extension.
        """
        value = self.find(local + b"@" + domain)
        if value is None and user != local:
            value = self.find_partial(user + b"@" + domain)
        if value is None and is_local:
            value = self.find_partial(local)
            if value is None and user != local:
                value = self.find_partial(user)
        return value if value is not None else self.find_partial(b"@" + domain)


def split_extension(local: bytes, delimiters: bytes, owner_request_special: bool) -> tuple[bytes, bytes]:
    """(user, extension) by recipient_delimiter; the extension is empty when there is none."""
    folded = local.lower()
    if not delimiters or folded in UNSPLIT:
        return local, b""
    if owner_request_special and b"-" in delimiters and _is_list_address(folded):
        return local, b""
    for i, c in enumerate(local):
        if c in delimiters:
            return (local[:i], local[i + 1 :]) if i else (local, b"")
    return local, b""


def _is_list_address(folded: bytes) -> bool:
    return folded.startswith(b"owner-") or (folded.endswith(b"-request") and len(folded) > len(b"-request"))
