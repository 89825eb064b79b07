"""aliases(5): what stands on the right of an alias, as addresses.

local.py looks names up and asks `parse_alias` for the members. Commands, files and :include: lists belong to
the whole local agent; here they are told apart and reported, so that their mail waits and is not lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fastrelay.rewrite._address import Address, parse_path

MEMBER_LIMIT = 1000  # reliability 3.6: expansion bombs


@dataclass(slots=True)
class Alias:
    """`to_self`: the user's own mailbox is a member (`name: name, ...` or `\\name`).

    `owner` is the address of the alias owner-name, b"" when there is none.
    """

    addresses: list[bytes] = field(default_factory=list)
    to_self: bool = False
    unusable: list[bytes] = field(default_factory=list)
    owner: bytes = b""


def parse_alias(name: bytes, own: bytes, value: bytes, complete: Callable[[Address], Address]) -> Alias:
    """The members of alias `name`, found for the address `own`. `complete` gives a bare name its domain."""
    alias = Alias()
    for member in split_members(value):
        address = parse_path(member[1:] if member[:1] == b"\\" else member)
        if is_special(member) or not isinstance(address, Address) or len(alias.addresses) >= MEMBER_LIMIT:
            alias.unusable.append(member)
            continue
        external = complete(address).external
        bare_self = not address.domain and (member[:1] == b"\\" or address.local.lower() == name)
        if bare_self or external.lower() == own.lower():
            alias.to_self = True
        elif external not in alias.addresses:
            alias.addresses.append(external)
    return alias


def is_special(member: bytes) -> bool:
    """A command, a file or an included list."""
    return member.lstrip(b'"')[:1] in (b"|", b"/") or member.lower().startswith(b":include:")


def split_members(value: bytes) -> list[bytes]:
    """Members stand between commas, and commas inside quotes are not such."""
    members = []
    quoted, start, i = False, 0, 0
    while i < len(value):
        c = value[i]
        if c == 0x5C:
            i += 1
        elif c == 0x22:
            quoted = not quoted
        elif c == 0x2C and not quoted:
            members.append(value[start:i])
            start = i + 1
        i += 1
    members.append(value[start:])
    return [member.strip() for member in members if member.strip()]
