"""The slow, obvious twin of rewrite._address: regular expressions and the ipaddress module."""

from __future__ import annotations

import ipaddress
import re

QUOTED = rb'"(?:[^"\\]|\\.)*"'
ATEXT = rb"[^\x00-\x20\x7f()<>@,;:\\\".\[\]]"
HOP = rb"@(?:\[[A-Za-z0-9:.]*\]|[A-Za-z0-9\x80-\xff._-]+)"
LABEL = rb"[A-Za-z0-9_\x80-\xff](?:[A-Za-z0-9_\x80-\xff-]*[A-Za-z0-9_\x80-\xff])?"
BRACKETED = re.compile(rb"<((?:" + QUOTED + rb'|\\.|[^"\\<>])*)>(?= |\Z)', re.S)
BARE = re.compile(rb"((?:" + QUOTED + rb'|\\.|[^"\\<> ])*)(?= |\Z)', re.S)
ROUTE = re.compile(HOP + rb"(?:," + HOP + rb")*:")
TOKEN = re.compile(QUOTED + rb"|\\.|.", re.S)
LOCAL = re.compile(rb"(?:[.@]|" + ATEXT + rb"+(?=[.@]|\Z)|" + QUOTED + rb"(?=\.|\Z))*", re.S)
STRICT_LOCAL = re.compile(ATEXT + rb"+(?:\." + ATEXT + rb"+)*|" + QUOTED, re.S)
DOT_STRING = re.compile(ATEXT + rb"+(?:\." + ATEXT + rb"+)*")
UNSAFE = {
    *range(32),
    *range(0x7F, 0xA0),
    0x61C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
}


class Refused(Exception):
    pass


def parse(text, strict=False, smtputf8=False, allow_null=False, allow_hyphen=False):
    """(local, domain, external, used), or the name of the PathResult."""
    try:
        return _parse(text, strict, smtputf8, allow_null, allow_hyphen)
    except Refused as refused:
        return str(refused)


def _parse(text, strict, smtputf8, allow_null, allow_hyphen):
    inner, used = find_path(text, strict)
    check_characters(inner)
    if not inner:
        if allow_null:
            return b"", b"", b"", used
        raise Refused("PATH_NULL_REFUSED")
    if len(inner) > 254:
        raise Refused("PATH_TOO_LONG")
    if inner.startswith(b"@"):
        route = ROUTE.match(inner)
        if not route:
            raise Refused("PATH_BAD_SYNTAX")
        inner = inner[route.end() :]
    tokens = TOKEN.findall(inner)
    if b"@" in tokens:
        at = len(tokens) - 1 - tokens[::-1].index(b"@")
        local = dequote(b"".join(tokens[:at]), strict, smtputf8, allow_hyphen)
        domain = check_domain(b"".join(tokens[at + 1 :]), smtputf8)
        return local, domain, quote(local) + b"@" + domain, used
    local = dequote(inner, strict, smtputf8, allow_hyphen)
    if not local.isascii():
        raise Refused("PATH_BAD_LOCAL")
    return local, b"", quote(local), used


def find_path(text, strict):
    rest = text.lstrip(b" ")
    if not rest:
        raise Refused("PATH_MISSING")
    found = (BRACKETED if rest.startswith(b"<") else BARE).match(rest)
    if not found or (strict and not rest.startswith(b"<")):
        raise Refused("PATH_BAD_SYNTAX")
    return found[1], len(text) - len(rest) + found.end()


def check_characters(inner):
    try:
        code_points = {ord(c) for c in inner.decode()}
    except UnicodeDecodeError:
        raise Refused("PATH_BAD_UTF8") from None
    if code_points & UNSAFE:
        raise Refused("PATH_BAD_SYNTAX")


def dequote(written, strict, smtputf8, allow_hyphen):
    if not (STRICT_LOCAL if strict else LOCAL).fullmatch(written):
        raise Refused("PATH_BAD_LOCAL")
    local = b"".join(
        re.sub(rb"\\(.)", rb"\1", token[1:-1], flags=re.S) if token.startswith(b'"') else token
        for token in TOKEN.findall(written)
    )
    if not local or (local.startswith(b"-") and not allow_hyphen):
        raise Refused("PATH_BAD_LOCAL")
    if not local.isascii() and not smtputf8:
        raise Refused("PATH_UTF8_LOCAL")
    return local


def quote(local):
    if DOT_STRING.fullmatch(local):
        return local
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", local) + b'"'


def check_domain(domain, smtputf8):
    if re.search(rb"[^.]\.\Z", domain):
        domain = domain[:-1]
    if not domain or len(domain) > 255:
        raise Refused("PATH_BAD_DOMAIN")
    if not domain.isascii() and not smtputf8:
        raise Refused("PATH_UTF8_DOMAIN")
    domain = domain.lower()
    if domain.startswith(b"["):
        return check_literal(domain)
    labels = domain.split(b".")
    good = all(re.fullmatch(LABEL, label) and (len(label) <= 63 or not label.isascii()) for label in labels)
    if not good or re.fullmatch(rb"[0-9.]+", domain):
        raise Refused("PATH_BAD_DOMAIN")
    return domain


def check_literal(domain):
    found = re.fullmatch(rb"\[(ipv6:)?([0-9a-f:.]+)\]", domain)
    if not found:
        raise Refused("PATH_BAD_DOMAIN")
    text = found[2].decode()
    try:
        ipaddress.IPv6Address(text) if found[1] else ipaddress.IPv4Address(text)
    except ValueError:
        raise Refused("PATH_BAD_DOMAIN") from None
    if not found[1]:
        return domain
    groups = sum(2 if "." in part else 1 for part in text.split(":") if part)
    if "::" in text and groups > 6:
        raise Refused("PATH_BAD_DOMAIN")
    return b"[IPv6:" + found[2] + b"]"
