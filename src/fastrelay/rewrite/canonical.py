"""canonical(5) and address masquerading: one address becomes one other, in envelopes and headers.

cleanup maps envelopes with it (envelope.py) and header addresses (the header rewriter); each asks with the
place where the address stands, because main.cf says for each table in which places it holds
(canonical_classes and the like, masquerade_classes). cleanup_addr.c, cleanup_masquerade.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.lookup import Matcher
from fastrelay.rewrite.mapping import AddressTable, MappingFailed, Trouble, Warnings, Where, fold, same

STEPS = 10  # of one address through one parameter's tables (cleanup's MAX_RECURSION)


class Masquerade:
    """masquerade_domains: what is below a listed domain takes its name; `!domain` is left as it is."""

    def __init__(self, domains: Sequence[str], exceptions: Matcher, unavailable: type[Exception]) -> None:
        self._domains = [
            (fold(d.lstrip("!").encode()), (len(d) - len(d.lstrip("!"))) % 2 == 0) for d in domains
        ]
        self._exceptions = exceptions
        self._unavailable = unavailable

    def __bool__(self) -> bool:
        return bool(self._domains)

    def map(self, address: Address, warnings: Warnings) -> Address:
        domain = fold(address.domain)
        if not domain or self._is_exception(address, warnings):
            return address
        for listed, strips in self._domains:
            if domain == listed:
                break
            if domain.endswith(b"." + listed):
                return Address(address.local, listed) if strips else address
        return address

    def _is_exception(self, address: Address, warnings: Warnings) -> bool:
        """masquerade_exceptions: names that keep their domain, looked up as they stand before the @."""
        name = address.external[: -len(address.domain) - 1]
        try:
            return self._exceptions.matches(name)
        except self._unavailable as error:
            text = b"masquerade_exceptions map lookup problem -- message not accepted, try again later"
            warnings.add(text)
            raise MappingFailed(Trouble.LOOKUP, warnings, error, name) from error


@dataclass(frozen=True, slots=True)
class OneToOneParts:
    """In the order in which they are asked; each list of words says where the part holds."""

    sender_canonical: AddressTable
    sender_canonical_classes: Sequence[str]
    recipient_canonical: AddressTable
    recipient_canonical_classes: Sequence[str]
    canonical: AddressTable
    canonical_classes: Sequence[str]
    masquerade: Masquerade
    masquerade_classes: Sequence[str]


class OneToOne:
    """All mappings of one address to one other. False when there is none anywhere."""

    def __init__(self, parts: OneToOneParts) -> None:
        own = (
            (parts.sender_canonical, parts.sender_canonical_classes),
            (parts.recipient_canonical, parts.recipient_canonical_classes),
            (parts.canonical, parts.canonical_classes),
        )
        self._tables = {
            where: [table for table, classes in own if table and where.value in classes] for where in Where
        }
        masquerade = parts.masquerade
        self._masquerade = {
            where: masquerade if masquerade and where.value in parts.masquerade_classes else None
            for where in Where
        }

    def __bool__(self) -> bool:
        return any(self.applies(where) for where in Where)

    def applies(self, where: Where) -> bool:
        """Is there anything to ask about addresses there?"""
        return bool(self._tables[where]) or self._masquerade[where] is not None

    def map(self, address: Address, where: Where, warnings: Warnings) -> Address:
        """The address to put in its place, often the same. Raises MappingFailed."""
        for table in self._tables[where]:
            address = follow(table, address, warnings)
        masquerade = self._masquerade[where]
        return address if masquerade is None else masquerade.map(address, warnings)


def follow(table: AddressTable, address: Address, warnings: Warnings) -> Address:
    """As far as the table leads, but no further than STEPS; Postfix goes on with what it has then."""
    for _ in range(STEPS):
        found = table.find_one(address, warnings)
        if found is None or same(found, address):
            return address if found is None else found
        address = found
    text = b"unreasonable %b map nesting for %b -- message not accepted, try again later"
    warnings.add(text % (table.title, address.external))
    return address
