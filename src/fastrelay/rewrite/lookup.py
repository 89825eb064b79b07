"""The keys under which an address is looked up in a table, and in which order (ADDRESS_..., transport(5)).

resolve.py, recipients.py and mapping.py build on it. The tables fold keys to lower case. A key that is only
a part of the address is not shown to tables that match patterns, so that a pattern for a domain is not
tried on a user name (Postfix's DICT_FLAG_FIXED). A local part that has to be quoted is looked up in quotes;
what only looks (mail_addr_find(3)) then tries it without, what rewrites (mail_addr_map(3)) does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from fastrelay.rewrite._address import Address

UNSPLIT = frozenset({b"postmaster", b"mailer-daemon"})


class Table(Protocol):
    """tables.Table."""

    @property
    def pattern(self) -> bool: ...
    @property
    def constant(self) -> bool: ...
    def version(self) -> object: ...
    def get(self, key: bytes, /) -> bytes | None: ...


class Lookup(Protocol):
    """tables.Maps."""

    @property
    def tables(self) -> Sequence[Table]: ...


class NoTables:
    """The Lookup of a parameter that is not set."""

    tables: tuple[Table, ...] = ()


class Matcher(Protocol):
    """tables.matching.DomainMatcher."""

    @property
    def tables(self) -> Sequence[Table]: ...
    def matches(self, domain: bytes, /) -> bool: ...


class Key(NamedTuple):
    """`whole`: all tables may see it; `extension`, with its delimiter, is what it leaves out."""

    text: bytes
    whole: bool = False
    extension: bytes = b""


def first_answer(gets: list[Callable[[bytes], bytes | None]], key: bytes) -> bytes | None:
    for get in gets:
        if (value := get(key)) is not None:
            return value
    return None


class AddressMaps:
    """A parameter's tables, asked for addresses. False when the parameter names none."""

    def __init__(self, maps: Lookup) -> None:
        self._all = [table.get for table in maps.tables]
        self._whole = [table.get for table in maps.tables if not table.pattern]

    def __bool__(self) -> bool:
        return len(self._all) > 0

    def find(self, key: bytes) -> bytes | None:
        """The first answer of all tables (tables.Maps.find)."""
        return first_answer(self._all, key)

    def find_partial(self, key: bytes) -> bytes | None:
        """The first answer of a table that holds whole keys."""
        return first_answer(self._whole, key)

    def find_key(self, keys: Iterable[Key]) -> tuple[Key, bytes] | None:
        """The first key that is there, and its value."""
        for key in keys:
            value = self.find(key.text) if key.whole else self.find_partial(key.text)
            if value is not None:
                return key, value
        return None

    def find_mailbox(self, address: Address, user: bytes) -> bytes | None:
        """user+ext@domain, then user@domain; `user` is the local part without its extension."""
        external = address.external
        if not address.domain or external.startswith(b'"'):
            found = self.find_key(both_forms(address, user, is_local=False)[:-1])
            return found[1] if found else None
        value = self.find(external)
        if value is None and user != address.local:
            value = self.find_partial(user + b"@" + address.domain)
        return value

    def find_address(self, address: Address, user: bytes, is_local: bool) -> bytes | None:
        """mail_addr_find(3): user+ext@domain, user@domain, for our domains user+ext and user, then @domain.

        `user` is the local part without its extension.
        """
        local, domain, external = address.local, address.domain, address.external
        if not domain or external.startswith(b'"'):
            found = self.find_key(both_forms(address, user, is_local))
            return found[1] if found else None
        value = self.find(external)
        if value is None and user != local:
            value = self.find_partial(user + b"@" + domain)
        if value is None and is_local:
            value = self.find_partial(local)
            if value is None and user != local:
                value = self.find_partial(user)
        return value if value is not None else self.find_partial(b"@" + domain)


class AddressKeys:
    """The keys of mail_addr_map(3): quoted as in external form, with what each leaves out of the address."""

    def __init__(
        self, delimiters: str, owner_request_special: bool, myorigin: str, is_local: Callable[[bytes], bool]
    ) -> None:
        self._delimiters = delimiters.encode()
        self._owner_request_special = owner_request_special
        self._origin = myorigin.encode().lower()
        self._is_local = is_local

    def external(self, address: Address) -> list[Key]:
        user = self.user(address.local)
        return external_keys(address, user, self.is_local(address.domain))

    def find(self, maps: AddressMaps, address: Address) -> bytes | None:
        """mail_addr_find(3)."""
        if not maps:
            return None
        user = self.user(address.local)
        return maps.find_address(address, user, self.is_local(address.domain))

    def user(self, local: bytes) -> bytes:
        return split_extension(local, self._delimiters, self._owner_request_special)[0]

    def is_local(self, domain: bytes) -> bool:
        """Of header addresses too, whose domains are in any case."""
        return domain.lower() == self._origin or self._is_local(domain)


def external_keys(address: Address, user: bytes, is_local: bool) -> list[Key]:
    """`user` is the local part without its extension."""
    if not address.domain:  # the null address has one key: ""
        return [Key(address.external or b'""', whole=True)]
    extension = address.local[len(user) :]
    short = Address(user, address.domain).external if extension else b""
    keys = [Key(address.external, whole=True)]
    if extension:
        keys.append(Key(short, extension=extension))
    if is_local:
        size = len(address.domain) + 1
        keys.append(Key(address.external[:-size]))
        if extension:
            keys.append(Key(short[:-size], extension=extension))
    keys.append(Key(b"@" + address.domain))
    return keys


def both_forms(address: Address, user: bytes, is_local: bool) -> list[Key]:
    """Each key quoted, then without quotes."""
    keys = []
    plain = {False: address.local, True: user}
    for key in external_keys(address, user, is_local):
        keys.append(key)
        if key.text[:1] == b'"':
            local = plain[bool(key.extension)]
            text = local + b"@" + address.domain if key.text.endswith(b"@" + address.domain) else local
            if text != key.text:
                keys.append(key._replace(text=text))
    return keys


def split_extension(local: bytes, delimiters: bytes, owner_request_special: bool) -> tuple[bytes, bytes]:
    """(user, extension) by recipient_delimiter; the extension is empty when there is none."""
    if not delimiters:
        return local, b""
    folded = local.lower()
    if folded in UNSPLIT:
        return local, b""
    if owner_request_special and b"-" in delimiters and _is_list_address(folded):
        return local, b""
    for i, c in enumerate(local):
        if c in delimiters:
            return (local[:i], local[i + 1 :]) if i else (local, b"")
    return local, b""


def _is_list_address(folded: bytes) -> bool:
    return folded.startswith(b"owner-") or (folded.endswith(b"-request") and len(folded) > len(b"-request"))
