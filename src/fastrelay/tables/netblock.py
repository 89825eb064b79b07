"""Addresses and networks as Postfix's cidr_match(3) reads them, and an index of many networks.

cidr: tables and mynetworks use it. An address is the pair of its bytes' length (4 or 16) and its number,
so that IPv4 and IPv6 never match each other.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from fastrelay.tables.text import SyntaxProblem

Address = tuple[int, int]  # (4 or 16, the number)


@dataclass(frozen=True, slots=True)
class Network:
    """The network part of a pattern: `number` shifted right by `shift` bits."""

    size: int  # 4 or 16
    shift: int
    number: int


def parse_packed(text: str) -> bytes | None:
    """The address in `text` as 4 or 16 bytes, None when there is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):  # ValueError: a NUL or a surrogate in it
        return None


def parse_address(text: str) -> Address | None:
    """The address in `text`, None when there is none."""
    packed = parse_packed(text)
    return None if packed is None else (len(packed), int.from_bytes(packed, "big"))


def parse_network(pattern: str) -> Network:
    """`address`, `address/length`, `[address]`, `[address]/length` `[address/length]`, or SyntaxProblem."""
    text, mask = _split_mask(pattern)
    address = parse_address(text)
    if mask is None:
        if address is None:
            raise SyntaxProblem(f'bad address pattern: "{text}"')
        return Network(address[0], 0, address[1])
    bits = 128 if ":" in text else 32
    if not (mask.isascii() and mask.isdigit()):
        raise SyntaxProblem(f'bad mask value in "{text}/{mask}"')
    if int(mask[:6]) > bits:
        raise SyntaxProblem(f'bad mask length in "{text}/{mask}"')
    if address is None:
        raise SyntaxProblem(f'bad network value in "{text}/{mask}"')
    shift = bits - int(mask)
    if address[1] >> shift << shift != address[1]:
        packed = (address[1] >> shift << shift).to_bytes(address[0], "big")
        family = socket.AF_INET6 if address[0] == 16 else socket.AF_INET
        better = f"{socket.inet_ntop(family, packed)}/{int(mask)}"
        raise SyntaxProblem(
            f'non-null host address bits in "{text}/{mask}", perhaps you should use "{better}" instead'
        )
    return Network(address[0], shift, address[1] >> shift)


def _split_mask(pattern: str) -> tuple[str, str | None]:
    """The address and the text after the slash, brackets gone."""
    if not pattern:
        raise SyntaxProblem("no pattern")
    text, rest = pattern, ""
    if pattern.startswith("["):
        text, bracket, rest = pattern[1:].partition("]")
        if not bracket:
            raise SyntaxProblem(f"missing ']' character after \"[{text}\"")
        if rest and not rest.startswith("/"):
            raise SyntaxProblem(f'garbage after "[{text}]"')
    if rest:
        return text, rest[1:]
    address, slash, mask = text.partition("/")
    return address, mask if slash else None


class NetworkIndex:
    """The first of many networks, as they were added, that contains an address: one probe a prefix length."""

    def __init__(self) -> None:
        self._by_length: dict[tuple[int, int], dict[int, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, network: Network) -> None:
        numbers = self._by_length.setdefault((network.size, network.shift), {})
        numbers.setdefault(network.number, self._count)
        self._count += 1

    def first(self, address: Address) -> int:
        """The position of the first network that contains `address`, -1 for none."""
        size, number = address
        best = self._count
        for (network_size, shift), numbers in self._by_length.items():
            if network_size == size:
                position = numbers.get(number >> shift, best)
                if position < best:
                    best = position
        return best if best < self._count else -1
