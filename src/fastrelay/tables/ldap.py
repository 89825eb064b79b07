"""ldap: an LDAP directory, ldap_table(5): a search, and more of them for DNs and URLs that the entries name.

The parameters are Postfix's, in a file or as name_parameter in main.cf. Entries are read as Postfix reads
them: terminal attributes hide all others, special ones (DNs, URLs) are followed where they stand and hide
the leaf ones. sasl_mechs may be EXTERNAL or PLAIN: the others need library calls that would block.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial

import ldap
import ldapurl

from fastrelay.tables.ldap_list import Listing, page, parse_listing
from fastrelay.tables.ldap_manners import choice, read_manners
from fastrelay.tables.ldap_session import (
    BROKEN,
    Entry,
    Handle,
    LdapSession,
    open_session,
    reason,
    search,
)
from fastrelay.tables.pending import answer
from fastrelay.tables.query import QueryTable, Source, Templates
from fastrelay.tables.remote import ServerProblem, reason_of
from fastrelay.tables.stream import Pool
from fastrelay.tables.table import TableError
from fastrelay.tables.text import printable, split_list
from fastrelay.tables.threads import Threads

SCOPES = {"sub": ldap.SCOPE_SUBTREE, "one": ldap.SCOPE_ONELEVEL, "base": ldap.SCOPE_BASE}
ANY = "(objectClass=*)"
UNLISTED = "sequence operation is not supported: query_filter has more than attribute=%s, or search_base a %"
_FILTER_SPECIAL = re.compile(rb"[*()\\\x00\x80-\xff]")
_DN_SPECIAL = re.compile(rb'[ \t"#+,;<=>\\\x00\x80-\xff]')


@dataclass(frozen=True, slots=True)
class Attributes:
    """What to read in an entry; all in small letters."""

    terminal: tuple[str, ...]
    leaf: tuple[str, ...]
    regular: tuple[str, ...]
    special: tuple[str, ...]

    def all(self) -> list[str]:
        return [*self.terminal, *self.leaf, *self.regular, *self.special]

    def kind(self, name: str) -> str:
        """Of the attribute that a server calls `name`; a;option counts as a."""
        for kind in ("terminal", "leaf", "regular", "special"):
            if any(_is_of(name, each) for each in getattr(self, kind)):
                return kind
        return ""

    def read(self, entry: Entry) -> Iterator[tuple[str, bytes]]:
        """The values that count, in the entry's order; the attribute's name with those to be followed."""
        kinds = [(self.kind(name.lower()), name, values) for name, values in entry.items() if values]
        present = {kind for kind, _, _ in kinds}
        if "terminal" in present:
            counts = {"terminal"}
        elif "special" in present:
            counts = {"regular", "special"}
        else:
            counts = {"regular", "leaf"}
        for kind, name, values in kinds:
            if kind in counts:
                yield from ((name if kind == "special" else "", value) for value in values)

    def selected(self, names: list[str] | None) -> list[str]:
        """What to ask for when a URL names attributes; of a and a;option the one with more."""
        if not names:
            return self.all()
        pairs = [(mine, name.lower()) for name in names for mine in self.all()]
        return [
            mine if _is_of(mine, name) else name
            for mine, name in pairs
            if _is_of(mine, name) or _is_of(name, mine)
        ]


@dataclass(frozen=True, slots=True)
class _What:
    """What a table's searches look for, and how far they go."""

    attributes: Attributes
    scope: int
    fixed_base: bool
    recursion_limit: int
    most_values: int
    size_limit: int


class LdapTable(QueryTable):
    type = "ldap"

    def configure(self, source: Source) -> None:
        base = source.text("search_base")
        query_filter = source.text("query_filter", "mailacceptinggeneralid=%s")
        result_format = source.text("result_format") or source.text("result_filter") or "%s"
        queries = {"search_base": base, "query_filter": query_filter}
        self._templates = Templates(source, queries, result_format=result_format)
        expansion_limit = source.number("expansion_limit", 0)
        self._what = _What(
            attributes=Attributes(
                terminal=_names(source.text("terminal_result_attribute")),
                leaf=_names(source.text("leaf_result_attribute")),
                regular=_names(source.text("result_attribute", "maildrop")),
                special=_names(source.text("special_result_attribute")),
            ),
            scope=choice(source, "scope", "sub", SCOPES, self.warnings),
            fixed_base="%" not in base,
            recursion_limit=source.number("recursion_limit", 1000, 1),
            most_values=self._templates.most_values,
            size_limit=source.number("size_limit", expansion_limit),
        )
        self._manners = read_manners(source, self.warnings)
        self._base = base
        self._listing = parse_listing(base, query_filter)
        self._complain_of = source.complain
        if "%" not in query_filter:
            self.warnings.append(f"{source.name}: Fixed query_filter {query_filter} is probably useless")
        for name in ("cache", "cache_expiry", "cache_size"):
            if source.text(name):
                self.warnings.append(f"{source.name} ignoring {name}")
        self.timeout = self._manners.timeout
        self._threads = Threads(self.connection_limit, "ldap")
        self._pool = Pool(self._open, self.connection_limit)

    async def fetch(self, key: bytes) -> bytes | None:
        base = await answer(self._templates.query, "search_base", key, quote_dn)
        search_filter = await answer(self._templates.query, "query_filter", key, quote_filter)
        if base is None or search_filter is None:
            return None
        lookup = _Lookup(self.label, key, self._what)
        job = partial(lookup.run, base=base.decode(), search_filter=search_filter.decode())
        values = await self._pool.use(lambda session: session.run(job))
        for text in lookup.notes:
            self._complain_of(text)
        return self._templates.result(key, values)

    async def items(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """All keys of a table whose filter compares attributes with %s; TableError of any other."""
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        if self._listing is None:
            raise TableError(self.label, UNLISTED, unavailable=False)
        try:
            session = await self._open()
        except (OSError, ServerProblem) as error:
            raise TableError(self.label, reason_of(error)) from error
        try:
            cookie = b""
            while True:
                keys, cookie = await self._keys(session, self._listing, cookie)
                values = await asyncio.gather(*(self._lookup(key) for key in keys))
                for key, value in zip(keys, values, strict=True):
                    if isinstance(value, TableError):
                        raise value
                    if value is not None:
                        yield key, value
                if not cookie:
                    return
        finally:
            session.close()

    async def close(self) -> None:
        if self.problem is None:
            self._pool.close()
            self._threads.close()

    async def _keys(self, session: LdapSession, listing: Listing, cookie: bytes) -> tuple[list[bytes], bytes]:
        """A page of folded keys."""
        job = partial(page, base=self._base, scope=self._what.scope, listing=listing, cookie=cookie)
        try:
            async with asyncio.timeout(self.timeout):
                entries, cookie = await session.run(job)
        except ldap.LDAPError as error:
            raise TableError(self.label, f"Search error {reason(error)}") from error
        except (TimeoutError, ServerProblem) as error:
            raise TableError(self.label, reason_of(error)) from error
        return [key for key in map(self._fold, listing.keys(entries)) if key], cookie

    async def _open(self) -> LdapSession:
        try:
            return await open_session(self._manners, self._threads)
        except ldap.LDAPError as error:
            raise TableError(self.label, f"Unable to bind: {reason(error)}") from error


class _Lookup:
    """One lookup's searches, in the thread of a session."""

    def __init__(self, label: str, key: bytes, what: _What) -> None:
        self._label = label
        self._key = key
        self._what = what
        self.notes: list[str] = []

    def run(self, handle: Handle, base: str, search_filter: str) -> list[bytes]:
        """The values that the entries have; those of what an entry names stand where it names it."""
        what = self._what
        values: list[bytes] = []
        levels = [self._values(self._first(handle, base, search_filter))]
        while levels:
            name, value = next(levels[-1], ("", None))
            if value is None:
                levels.pop()
            elif not name:
                values.append(value)
                if len(values) > what.most_values:
                    raise self._error(f"more than {len(values) - 1} values")
            elif len(levels) >= what.recursion_limit:
                shown = f"{name}={printable(value)}"
                raise self._error(f"Recursion limit exceeded for special attribute {shown}")
            else:
                levels.append(self._values(self._follow(handle, value)))
        return values

    def _values(self, entries: list[Entry]) -> Iterator[tuple[str, bytes]]:
        for entry in entries:
            yield from self._what.attributes.read(entry)

    def _first(self, handle: Handle, base: str, search_filter: str) -> list[Entry]:
        what = self._what
        try:
            return self._search(handle, base, what.scope, search_filter, what.attributes.all())
        except ldap.NO_SUCH_OBJECT as error:
            if what.fixed_base:
                raise self._error(f"Search base '{base}' not found: {reason(error)}") from error
            return []

    def _follow(self, handle: Handle, value: bytes) -> list[Entry]:
        """The entries that a DN or a URL in an entry leads to, on the same server."""
        text = value.decode("utf-8", "surrogateescape")
        try:
            if not ldapurl.isLDAPUrl(text):
                return self._search(handle, text, ldap.SCOPE_BASE, ANY, self._what.attributes.all())
            url = ldapurl.LDAPUrl(text)
            names = self._what.attributes.selected(url.attrs)
            scope = ldap.SCOPE_BASE if url.scope is None else url.scope
            return self._search(handle, url.dn, scope, url.filterstr or ANY, names) if names else []
        except ldap.NO_SUCH_OBJECT:
            self.notes.append(f"{self._label}: DN {printable(value)} not found, skipping")
            return []
        except ValueError as error:
            raise self._error(f"malformed LDAP URL {printable(value)}") from error

    def _search(self, handle: Handle, base: str, scope: int, text: str, names: list[str]) -> list[Entry]:
        limit = self._what.size_limit
        try:
            entries = search(handle, base, scope, text, names, limit)
        except (ldap.NO_SUCH_OBJECT, *BROKEN):
            raise
        except ldap.LDAPError as error:
            raise self._error(f"Search error {reason(error)}") from error
        if 0 < limit < len(entries):
            raise self._error(f"Query size limit ({limit}) exceeded")
        return entries

    def _error(self, text: str) -> TableError:
        return TableError(self._label, f"{text} (key {printable(self._key)})", unavailable=False)


def quote_filter(text: bytes) -> bytes:
    """RFC 4515 3; what is not ASCII too, so that any bytes make a filter."""
    return _FILTER_SPECIAL.sub(lambda match: b"\\%02x" % match[0][0], text)


def quote_dn(text: bytes) -> bytes:
    """RFC 4514 2.4, all by hexadecimal digits."""
    return _DN_SPECIAL.sub(lambda match: b"\\%02X" % match[0][0], text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.lower() for name in split_list(text))


def _is_of(name: str, attribute: str) -> bool:
    """Is `name` the attribute, or the attribute with options? Both in small letters."""
    return name == attribute or name.startswith(attribute + ";")
