"""Which keys an LDAP table has: for sync-table and postmap -s, by tables/ldap.py.

A query_filter like (&(a=b)(|(mail=%s)(proxy=smtp:%s))) lists: with * for each %s a search finds the entries
that have keys, a page at a time (RFC 2696), and the values of those attributes are the keys. Each key's value
is then what a lookup of it gives, so that list and lookups cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import ldap
from ldap.controls import SimplePagedResultsControl

from fastrelay.tables.ldap_session import Entry, Handle

PAGE = 200  # entries
_PLACE = re.compile(r"([A-Za-z][\w;.-]*)=([^()*%=]*)%[sS]([^()*%]*)(?=\)|$)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a filter has %s: the attribute in small letters, and what is around a key in its values."""

    attribute: str
    before: bytes
    behind: bytes

    def key(self, value: bytes) -> bytes | None:
        small, end = value.lower(), len(value) - len(self.behind)
        if not small.startswith(self.before) or not small.endswith(self.behind) or end <= len(self.before):
            return None
        return value[len(self.before) : end]


@dataclass(frozen=True, slots=True)
class Listing:
    search_filter: str
    places: tuple[Place, ...]

    def keys(self, entries: Iterable[Entry]) -> list[bytes]:
        """Of some entries, each key once."""
        found: dict[bytes, None] = {}
        for entry in entries:
            for name, values in entry.items():
                attribute = name.lower().partition(";")[0]
                for place in self.places:
                    if place.attribute.partition(";")[0] == attribute:
                        found |= {key: None for key in map(place.key, values) if key is not None}
        return list(found)


def parse_listing(search_base: str, query_filter: str) -> Listing | None:
    """None: the keys cannot be told from the entries."""
    if "%" in search_base or _negated(query_filter):
        return None
    places = tuple(
        Place(match[1].lower(), match[2].lower().encode(), match[3].lower().encode())
        for match in _PLACE.finditer(query_filter)
    )
    search_filter = _PLACE.sub(r"\1=\2*\3", query_filter)
    return Listing(search_filter, places) if places and "%" not in search_filter else None


def _negated(query_filter: str) -> bool:
    """Is a %s behind a "not"?"""
    for start in re.finditer(r"\(!", query_filter):
        depth = 0
        for position in range(start.start(), len(query_filter)):
            depth += {"(": 1, ")": -1}.get(query_filter[position], 0)
            if depth == 0:
                break
        if "%" in query_filter[start.start() : position]:
            return True
    return False


def page(handle: Handle, base: str, scope: int, listing: Listing, cookie: bytes) -> tuple[list[Entry], bytes]:
    """In the thread: some entries and the cookie for the next ones, empty at the end. ldap.LDAPError."""
    control = SimplePagedResultsControl(True, size=PAGE, cookie=cookie)
    names = sorted({place.attribute for place in listing.places})
    number = handle.search_ext(base, scope, listing.search_filter, names, serverctrls=[control])
    entries: list[Entry] = []
    while True:
        kind, found, _, controls = handle.result3(number, 0)
        if kind == ldap.RES_SEARCH_ENTRY:
            entries += [entry for _, entry in found]
        elif kind == ldap.RES_SEARCH_RESULT:
            cookies = [each.cookie for each in controls if each.controlType == control.controlType]
            return entries, bytes(cookies[0] or b"") if cookies else b""
