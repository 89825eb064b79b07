"""One address to others by a parameter's tables: what canonical, virtual and generic have in common.

canonical.py, virtual.py and the SMTP client build on it (mail_addr_map(3), cleanup_map11.c). Lookups are
those of AddressKeys. Evaluations are pure, because one that needs a remote table is run again: what is to
be logged is collected in Warnings and said at the end.
"""

from __future__ import annotations

import enum
from typing import Protocol, runtime_checkable

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps, Lookup
from fastrelay.rewrite.right_hand import complete, read_addresses
from fastrelay.rewrite.settings import RewriteSettings


class Warnings:
    """What is to be logged as warnings of cleanup when the evaluation has ended."""

    def __init__(self) -> None:
        self._texts: list[tuple[bool, bytes]] = []

    def add(self, text: bytes) -> None:
        """About the message: its queue id goes before the text."""
        self._texts.append((True, text))

    def add_bare(self, text: bytes) -> None:
        """About a table alone."""
        self._texts.append((False, text))

    def lines(self, queue_id: bytes) -> list[bytes]:
        return [queue_id + b": " + text if of_message else text for of_message, text in self._texts]


class Where(enum.Enum):
    """Where an address stands; the value is the word in canonical_classes and masquerade_classes."""

    ENVELOPE_SENDER = "envelope_sender"
    ENVELOPE_RECIPIENT = "envelope_recipient"
    HEADER_SENDER = "header_sender"
    HEADER_RECIPIENT = "header_recipient"


@runtime_checkable
class Told(Protocol):
    """tables.TableError: an error with lines of its own for the log."""

    def warnings(self, key: bytes, /) -> list[str]: ...


class Trouble(enum.Enum):
    """Why mapping failed; both are temporary (451)."""

    LOOKUP = enum.auto()
    EXPANSION = enum.auto()


class MappingFailed(Exception):
    """The message cannot be taken now. The reason is the last of `warnings`.

    `cause`: the error of a table, which has lines of its own to log about `key`.
    """

    def __init__(
        self, trouble: Trouble, warnings: Warnings, cause: Exception | None = None, key: bytes = b""
    ) -> None:
        super().__init__(trouble.name)
        self.trouble = trouble
        self.warnings = warnings
        self.cause = cause
        self.key = key

    def lines(self, queue_id: bytes) -> list[bytes]:
        """All that is to be logged as warnings."""
        told: list[str] = self.cause.warnings(self.key) if isinstance(self.cause, Told) else []
        return [*(text.encode("utf-8", "replace") for text in told), *self.warnings.lines(queue_id)]


NOT_ACCEPTED = b"message not accepted, try again later"


class AddressTable:
    """The tables of the parameter `title`. `unavailable`: what they raise when they cannot answer.

    `consequence` is what the log says of the message then.
    """

    def __init__(
        self,
        title: str,
        maps: Lookup,
        keys: AddressKeys,
        settings: RewriteSettings,
        propagate: bool,
        unavailable: type[Exception],
        consequence: bytes = NOT_ACCEPTED,
    ) -> None:
        self.title = title.encode()
        self._consequence = consequence
        self._maps = AddressMaps(maps)
        self._keys = keys
        self._settings = settings
        self._propagate = propagate
        self._unavailable = unavailable

    def __bool__(self) -> bool:
        return bool(self._maps)

    def find(self, address: Address, warnings: Warnings, shown: bytes | None = None) -> list[Address] | None:
        """What the address stands for; None: for itself. `shown` stands for it in the log. Raises MappingFailed."""
        shown = address.internal if shown is None else shown
        try:
            found = self._maps.find_key(self._keys.external(address))
        except self._unavailable as error:
            raise self._problem(address, shown, warnings, error) from error
        if found is None:
            return None
        key, value = found
        if value[:1] == b"@":  # the user stays, the domain is another
            local = address.local.removesuffix(key.extension) + value
            local, _, domain = local.rpartition(b"@")
            addresses = [complete(local, domain, self._settings)]
        else:
            addresses = read_addresses(value, self._settings)
        if not addresses:
            text = b'%b lookup of %b returns non-address result "%b"'
            warnings.add_bare(text % (self.title, shown, value))
            raise self._problem(address, shown, warnings)
        if key.extension and self._propagate:
            return [Address(a.local + key.extension, a.domain) for a in addresses]
        return addresses

    def find_one(self, address: Address, warnings: Warnings) -> Address | None:
        """The first of what the address stands for."""
        found = self.find(address, warnings, address.external)
        if found is None:
            return None
        if len(found) > 1:
            warnings.add(b"multi-valued %b entry for %b" % (self.title, address.external))
        return found[0]

    def _problem(
        self, address: Address, shown: bytes, warnings: Warnings, cause: Exception | None = None
    ) -> MappingFailed:
        warnings.add(b"%b map lookup problem for %b -- %b" % (self.title, shown, self._consequence))
        return MappingFailed(Trouble.LOOKUP, warnings, cause, address.external or b'""')


def same(one: Address, other: Address) -> bool:
    """Case aside, as Postfix's casefold(3)."""
    return one is other or fold(one.external) == fold(other.external)


def fold(text: bytes) -> bytes:
    if text.isascii():
        return text.lower()
    return text.decode("utf-8", "surrogateescape").casefold().encode("utf-8", "surrogateescape")
