"""The addresses on the right of a canonical, virtual or generic entry, in canonical form (RFC 822 words).

mapping.py calls read_addresses on what a table gave. The text is cut into tokens and read from right to
left, which is where Postfix's tok822_parse(3) differs from a list split at commas: words that nothing joins
are addresses of their own, `Name <address>` and `group: a, b;` count for the addresses in them.
Invariant: whatever a table holds, no address that comes out has a control character or a domain that could
end a command; what is no domain is made one that resolving refuses.
"""

from __future__ import annotations

import re

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.address import read_domain
from fastrelay.rewrite.settings import RewriteSettings

_BLANK = bytes(range(33)) + b"\x7f"
NO_CONTROLS = bytes(32 if c < 32 or c == 127 else c for c in range(256))
_TOKEN = re.compile(
    rb"""
    "(?P<quoted>(?:[^"\\]|\\.)*)(?:"|\\?$)
    | \[(?P<literal>[^]]*)(?:\]|$)
    | (?P<atom>(?:\\.|[^ "(),.:;<>@\[\]%!\\])+)
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NO_DOMAIN_BYTE = re.compile(rb"[^A-Za-z0-9._:\[\]\x80-\xff-]")
WORD = b"word"  # the kind of a token that is no sign

Token = tuple[bytes, bytes]  # WORD or the sign itself; its text, without quotes and escapes


def read_addresses(value: bytes, settings: RewriteSettings) -> list[Address]:
    """In the order in which they stand; empty when the text holds no address."""
    text = value.translate(NO_CONTROLS)
    if text == b"<>":
        return [Address(b"")]
    return [_address(tokens, settings) for tokens in _group(_tokens(text))]


def complete(local: bytes, domain: bytes, settings: RewriteSettings) -> Address:
    """The Address of two parts that a table gave; the domain is completed and, if it is none, refused later."""
    if domain[-1:] == b"." and domain[-2:-1] not in (b"", b"."):
        domain = domain[:-1]
    domain = _NO_DOMAIN_BYTE.sub(b"?", read_domain(domain))
    if settings.append_dot_mydomain and b"." not in domain and domain[:1] != b"[":
        domain += b"." + settings.mydomain.encode()
    return Address(local.translate(NO_CONTROLS), domain)


def _tokens(text: bytes) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at] in _BLANK:
            at += 1
            continue
        if text[at] == 0x28:
            at = _end_of_comment(text, at)
            continue
        match = _TOKEN.match(text, at)
        assert match is not None
        at = match.end()
        if match["literal"] is not None:
            tokens.append((WORD, b"[" + match["literal"] + b"]"))
        elif match["sign"] is not None:
            tokens.append((match["sign"], match["sign"]))
        else:
            word = match["quoted"] if match["quoted"] is not None else match["atom"]
            tokens.append((WORD, re.sub(rb"\\(.)", rb"\1", word)))
    return tokens


def _end_of_comment(text: bytes, start: int) -> int:
    """Comments nest; one that does not end takes the rest."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == 0x28) - (text[at] == 0x29)
        if not depth:
            return at + 1
    return len(text)


def _group(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each address."""
    found: list[list[Token]] = []
    end = at = len(tokens)  # the address at hand is what lies between `at` and `end`
    may_join, in_group = True, False

    def close(left: int) -> None:
        if left < end:
            found.append(tokens[left:end])

    while at > 0:
        kind = tokens[at - 1][0]
        if kind in b";," or (kind == b":" and in_group):
            close(at)
            at = end = _left_of_name(tokens, at - 1) if kind == b":" else at - 1
            may_join, in_group = True, in_group or kind == b";"
        elif kind == b">":
            close(at)
            end = at - 1
            at = _left_of(tokens, end, b"<")
            close(at)
            at = end = _left_of(tokens, max(at - 1, 0), b">;,:")
            may_join = True
        elif kind == WORD and not may_join:
            close(at)
            end, may_join = at, True
        else:
            may_join = kind != WORD
            at -= 1
    close(0)
    return found[::-1]


def _left_of(tokens: list[Token], at: int, signs: bytes) -> int:
    """The nearest position up to `at` with one of the signs right before it, or 0."""
    while at and (tokens[at - 1][0] == WORD or tokens[at - 1][0] not in signs):
        at -= 1
    return at


def _left_of_name(tokens: list[Token], at: int) -> int:
    """A group's name is passed over, up to the comma before it."""
    return _left_of(tokens, at, b",")


def _address(tokens: list[Token], settings: RewriteSettings) -> Address:
    """rewrite_tree(3): a source route goes, an old notation is read, a missing domain is added."""
    kinds = [kind for kind, _ in tokens]
    if kinds[0] == b"@" and b":" in kinds[:-1]:
        tokens = tokens[kinds.index(b":") + 1 :]
        kinds = [kind for kind, _ in tokens]
    if kinds == [b"@"] or [text for _, text in tokens] == [b""]:
        return Address(b"")
    if b"@" in kinds:
        local, domain = _cut(tokens, len(kinds) - 1 - kinds[::-1].index(b"@"))
    elif settings.swap_bangpath and b"!" in kinds:
        domain, local = _cut(tokens, kinds.index(b"!"))
    elif settings.allow_percent_hack and b"%" in kinds:
        local, domain = _cut(tokens, len(kinds) - 1 - kinds[::-1].index(b"%"))
    elif settings.append_at_myorigin:
        return complete(_text(tokens), settings.myorigin.encode(), settings)
    else:
        return Address(_text(tokens))
    return complete(local, domain, settings)


def _cut(tokens: list[Token], at: int) -> tuple[bytes, bytes]:
    """What stands left and right of a sign."""
    return _text(tokens[:at]), _text(tokens[at + 1 :])


def _text(tokens: list[Token]) -> bytes:
    return b"".join(text for _, text in tokens)
