"""virtual_alias_maps: one recipient becomes a list, again and again until nothing changes (virtual(5)).

envelope.py asks for each recipient. Three limits stop what has no end; a message that hits one is not taken
(cleanup_map1n.c). An address that is among those that it stands for is expanded once.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.mapping import AddressTable, MappingFailed, Trouble, Warnings, fold, same

SHOWN = 300  # of a result that is too long, in the log


@dataclass(frozen=True, slots=True)
class ExpansionLimits:
    """virtual_alias_..._limit: addresses of one recipient, steps of one address, bytes of a result."""

    expansion: int
    recursion: int
    address_length: int


class VirtualAliases:
    def __init__(self, table: AddressTable, limits: ExpansionLimits) -> None:
        self._table = table
        self._limits = limits

    def __bool__(self) -> bool:
        return bool(self._table)

    def expand(self, recipient: Address, warnings: Warnings) -> list[Address]:
        """[recipient] itself when it is no alias. Raises MappingFailed."""
        found = [recipient]
        done: set[bytes] = set()  # addresses that were among their own results
        position = 0
        while position < len(found):
            if len(found) > self._limits.expansion:
                raise self._unreasonable(b"map expansion size for %b", recipient.internal, warnings)
            steps = 0
            while fold(found[position].external) not in done:
                if steps >= self._limits.recursion:
                    raise self._unreasonable(b"map nesting for %b", recipient.internal, warnings)
                results = self._table.find(found[position], warnings)
                if results is None:
                    break
                self._check_lengths(results, warnings)
                address = found[position]
                if any(same(address, result) for result in results):
                    done.add(fold(address.external))
                found[position] = results[0]
                found += results[1:]
                steps += 1
            position += 1
        return found

    def _check_lengths(self, results: list[Address], warnings: Warnings) -> None:
        for result in results:
            if len(result.internal) > self._limits.address_length:
                raise self._unreasonable(b"result %b...", result.internal[:SHOWN], warnings)

    def _unreasonable(self, what: bytes, shown: bytes, warnings: Warnings) -> MappingFailed:
        text = b"unreasonable %b " + what + b" -- message not accepted, try again later"
        warnings.add(text % (self._table.title, shown))
        return MappingFailed(Trouble.EXPANSION, warnings)
