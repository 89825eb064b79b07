"""Rewrite an envelope address to its complete form, as trivial-rewrite(8) does in its local context.

_core calls `Rewriter.envelope` on every address that the parser took, whoever the client is: Postfix
completes envelope addresses for remote clients too (only headers have contexts). What comes out is what
is decided on, stored and sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fastrelay.rewrite._address import Address, parse_path
from fastrelay.rewrite.settings import RewriteSettings

_MENDABLE = re.compile(
    rb"(?P<before> *<?[^\"\\<>@\s]+@)(?P<address>(?:[0-9]{1,3}\.){3}[0-9]{1,3})?\.?(?P<after>>?(?: .*)?)",
    re.DOTALL,
)


class Rewriter:
    def __init__(self, settings: RewriteSettings) -> None:
        self._settings = settings
        self._origin = settings.myorigin.encode() if settings.append_at_myorigin else b""
        self._dot_domain = b"." + settings.mydomain.encode() if settings.append_dot_mydomain else b""

    def envelope(self, address: Address) -> Address:
        """The address with a complete domain; the same object when nothing is missing."""
        if address.domain:
            return self.complete_domain(address)
        if not address.local:
            return address  # the null sender stays null
        return self.complete_domain(self._find_domain(address))

    def complete_domain(self, address: Address) -> Address:
        """append_dot_mydomain: `host` becomes `host.$mydomain`."""
        domain = address.domain
        if not self._dot_domain or not domain or b"." in domain or domain[:1] == b"[":
            return address
        return Address(address.local, domain + self._dot_domain)

    def _find_domain(self, address: Address) -> Address:
        """A domain for a bare local part: one that it holds in an older notation, or else ours."""
        local = address.local
        if address.external[:1] == b'"':  # quoted: `!` and `%` are data, but Postfix reads `"u@d"` as u@d
            user, at, domain = local.rpartition(b"@")
            if at and user and (known := canonical_domain(domain)):
                return Address(user, known)
        elif found := split_routing(local, self._settings):
            return Address(*found)
        return Address(local, self._origin) if self._origin else address


def split_routing(local: bytes, settings: RewriteSettings) -> tuple[bytes, bytes] | None:
    """(user, domain) of `domain!user` or else `user%domain`, where main.cf lets us read them."""
    if settings.swap_bangpath and b"!" in local:
        domain, _, user = local.partition(b"!")
        return user, read_domain(domain)
    if settings.allow_percent_hack and b"%" in local:
        user, _, domain = local.rpartition(b"%")
        return user, read_domain(domain)
    return None


def read_domain(domain: bytes) -> bytes:
    """The domain in canonical form; what is none stays, an empty one is `.`, and resolving refuses both."""
    return canonical_domain(domain) or domain or b"."


def mender(numeric: bool, null: bool, myhostname: str) -> Callable[[bytes], bytes | None] | None:
    """resolve_numeric_domain, resolve_null_domain: what makes such a path one that can be read."""
    if not numeric and not null:
        return None

    def mend(path: bytes) -> bytes | None:
        """The path with a domain, None when that is not what it lacks. Paths with quotes are left alone."""
        found = _MENDABLE.fullmatch(path)
        if found is None or not (numeric if found["address"] else null):
            return None
        domain = b"[%b]" % found["address"] if found["address"] else myhostname.encode()
        return found["before"] + domain + found["after"]

    return mend


def canonical_domain(domain: bytes) -> bytes | None:
    """The domain as the parser would take it behind an @, or None when it would not."""
    found = parse_path(b"<x@" + domain + b">", smtputf8=True)
    return found.domain if isinstance(found, Address) and found.local == b"x" else None
