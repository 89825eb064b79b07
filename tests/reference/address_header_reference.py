"""What AddressHeaders must make of a header's addresses: token lists, the obvious way (RFC 822 3.4, cleanup(8))."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

ATOM, QUOTED, LITERAL, COMMENT, START_GROUP, ADDRESS = (
    "atom",
    "quoted",
    "literal",
    "comment",
    "group",
    "address",
)
SPECIALS = b'()<>,;:\\"@[].'
OPERATORS = SPECIALS + b"|%!"
BLANKS = b" \t\r\n"
WORDS = (ATOM, QUOTED, LITERAL)


@dataclass
class Token:
    kind: str  # one of the kinds above, or the operator itself
    text: bytes = b""
    children: list[Token] = field(default_factory=list)
    close: bool = False  # no space comes after it


@dataclass(frozen=True)
class Context:
    """Where the client stands: what is appended, and how routing is read."""

    origin: bytes = b""
    domain: bytes = b""
    swap_bangpath: bool = True
    percent_hack: bool = True
    complete: bool = True  # False: addresses are only mapped (smtp_generic_maps)


Mapper = Callable[[bytes], bytes]


def scan(text: bytes, limit: int = 0) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        c = text[at : at + 1]
        if c in BLANKS and c != b"":
            at += 1
            continue
        if c == b"(":
            at, value = scan_comment(text, at + 1)
            tokens.append(Token(COMMENT, value))
        elif c == b"[":
            at, value = collect(text, at + 1, b"]")
            tokens.append(Token(LITERAL, value))
            at += 1
        elif c == b'"':
            at, value = collect(text, at + 1, b'"')
            tokens.append(Token(QUOTED, value))
            at += 1
        elif c != b"\\" and c in OPERATORS:
            tokens.append(Token(c.decode()))
            at += 1
        else:
            at, value = collect(text, at, OPERATORS + BLANKS)
            odd = any(x <= 32 or x == 127 or x in OPERATORS for x in value)
            tokens.append(Token(QUOTED if odd else ATOM, value))
        if limit and len(tokens) >= limit:
            break
    return tokens


def scan_comment(text: bytes, at: int) -> tuple[int, bytes]:
    start, level = at, 1
    while at < len(text) and level:
        c = text[at]
        level += (c == 40) - (c == 41)
        at += 2 if c == 92 else 1
    at = min(at, len(text))
    return at, b"(" + text[start:at]


def collect(text: bytes, at: int, stop: bytes) -> tuple[int, bytes]:
    value = bytearray()
    while at < len(text):
        c = text[at]
        if c == 92:
            at += 1
            if at == len(text):
                break
            c = text[at]
        elif c in stop:
            break
        value.append(32 if c in BLANKS else c)
        at += 1
    return at, bytes(value)


def parse(tokens: list[Token]) -> list[Token]:
    """From right to left: addresses become nodes, comments move behind them, missing commas are added."""
    done: list[Token] = []  # reversed
    current: list[Token] = []  # reversed
    word, group = True, False
    at = len(tokens) - 1

    def close(comma: bool) -> None:
        if current:
            done.append(Token(ADDRESS, children=current[::-1]))
            current.clear()
            if comma:
                done.append(Token(","))

    while at >= 0:
        token = tokens[at]
        if token.kind == COMMENT:
            done.append(token)
        elif token.kind == ";":
            close(True)
            done.append(token)
            word = group = True
        elif token.kind == ":" and group:
            close(False)
            done.append(Token(START_GROUP))
            at -= 1
            while at >= 0 and tokens[at].kind != ",":
                done.append(tokens[at])
                at -= 1
            continue
        elif token.kind == ">":
            close(True)
            done.append(token)
            at -= 1
            while at >= 0 and tokens[at].kind != "<":
                (done if tokens[at].kind == COMMENT else current).append(tokens[at])
                at -= 1
            close(False)
            while at >= 0 and tokens[at].kind not in (">", ";", ",", ":"):
                done.append(tokens[at])
                at -= 1
            if at >= 0 and tokens[at].kind == ":" and not group:
                done.append(tokens[at])
                at -= 1
            word = True
            continue
        elif token.kind == ",":
            close(False)
            done.append(token)
            word = True
        else:
            if token.kind in WORDS and not word:
                close(True)
            current.append(token)
            word = token.kind not in WORDS
        at -= 1
    close(False)
    return done[::-1]


def needs_space(token: Token, following: Token | None) -> bool:
    if following is None or token.close:
        return False
    if token.kind in (",", START_GROUP) or following.kind == "<":
        return True
    solid = (*WORDS, COMMENT, ADDRESS)
    return token.kind in solid and following.kind in solid


def escape(text: bytes, escaped: bytes) -> bytes:
    return b"".join(b"\\" + bytes([c]) if c in escaped else bytes([c]) for c in text)


def internal(tokens: list[Token], spaces: bool = True) -> bytes:
    out = b""
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        out += internal_token(token)
        if spaces and needs_space(token, following):
            out += b" "
    return out


def internal_token(token: Token) -> bytes:
    if token.kind in (ATOM, QUOTED, COMMENT):
        return token.text
    if token.kind == LITERAL:
        return b"[" + token.text + b"]"
    return b":" if token.kind == START_GROUP else token.kind.encode()


def external_token(token: Token) -> bytes:
    if token.kind == QUOTED:
        return b'"' + escape(token.text, b'"\\') + b'"'
    return b"[" + escape(token.text, b"\\") + b"]" if token.kind == LITERAL else internal_token(token)


def external(tokens: list[Token], spaces: bool) -> bytes:
    """Each token quoted for itself."""
    out = b""
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        if token.kind == ",":
            out += b", "
            continue
        out += external_token(token)
        if spaces and needs_space(token, following):
            out += b" "
    return out


def quote_local(address: bytes) -> bytes:
    """RFC 822: what is before the last @ in quotes unless it is a dot-string; bytes above 127 are atoms."""
    route = address.find(b":") + 1 if address[:1] == b"@" else 0  # a source route stays as it is
    at = address.rfind(b"@", route)
    local, domain = (address[route:], b"") if at < 0 else (address[route:at], address[at:])
    odd = any(c <= 32 or c == 127 or c in b'()<>@,;:\\"[]' for c in local)
    if local and not odd and local[:1] != b"." and local[-1:] != b"." and b".." not in local:
        return address
    return address[:route] + b'"' + escape(local, b'"\\\r') + b'"' + domain


def find(tokens: list[Token], kind: str) -> int:
    return next((i for i, token in enumerate(tokens) if token.kind == kind), -1)


def rfind(tokens: list[Token], kind: str) -> int:
    return max((i for i, token in enumerate(tokens) if token.kind == kind), default=-1)


def rewrite_tokens(t: list[Token], context: Context) -> list[Token]:
    """trivial-rewrite(8)."""
    if not t or (len(t) == 1 and t[0].kind == QUOTED and not t[0].text):
        return t
    if len(t) == 1 and t[0].kind == "@":
        return [Token(QUOTED)]
    if t[0].kind == "@" and 0 < (colon := find(t, ":")) < len(t) - 1:
        t = t[colon + 1 :]
    if rfind(t, "@") < 0:
        bang, percent = find(t, "!"), rfind(t, "%")
        if context.swap_bangpath and bang >= 0:
            local = t[bang + 1 :] if bang else [replace(x, close=True) for x in t[1:]]
            t = [*local, Token("@"), *t[:bang]]
        elif context.percent_hack and percent >= 0:
            t = [*t[:percent], Token("@"), *t[percent + 1 :]]
        elif context.origin:
            t = [*t, Token("@"), *scan(context.origin)]
    at = rfind(t, "@")
    if context.domain and 0 <= at < len(t) - 1 and find(t[at:], LITERAL) < 0 and find(t[at:], ".") < 0:
        t = [*t, Token("."), *scan(context.domain)]
    if len(t) > 1 and t[-1].kind == "." and t[-2].kind not in (".", "@"):
        t = t[:-1]
    return t


def rewrite(value: bytes, context: Context, mapper: Mapper | None = None, limit: int = 0) -> bytes | None:
    """The header's value in lines (LF), or None when no address changes."""
    tree = parse(scan(value.replace(b"\r", b""), limit))
    changed = False
    for node in tree:
        if node.kind != ADDRESS:
            continue
        source = external(node.children, spaces=False)
        if context.complete and source:
            result = quote_local(internal(rewrite_tokens(scan(source), context)))
            changed = changed or result != source
        else:
            result = quote_local(internal(node.children, spaces=False)) if source else b""
        if mapper is not None and not result.endswith(b"@"):
            result, completed = mapper(result), result
            changed = changed or result != completed
        node.children = scan(result)
    return b" " + render(tree) if changed else None


MOST_BESIDE = 250  # bytes of phrase and comments around one address


def render(tree: list[Token]) -> bytes:
    out = start = b""
    address: Token | None = None
    size = 0

    def enforce() -> bytes:
        if address is not None and len(out) - size > len(start) + MOST_BESIDE:
            inner = quote_local(internal(address.children)) if address.children else b""
            return start + b"<" + inner + b">"
        return out

    for token, following in itertools.zip_longest(tree, tree[1:]):
        if token.kind == ",":
            out = enforce() + b",\n"
            start, address, size = out, None, 0
            continue
        if token.kind == ADDRESS:
            address = token
            text = quote_local(internal(token.children))
            size = len(text)
            out += text
        elif token.kind == "<" and following is not None and following.kind == ">":
            address, size = token, 0
            out += b"<"
        else:
            out += external([token], spaces=False)
        if needs_space(token, following):
            out += b" "
    return enforce()


def fold(header: bytes) -> bytes:
    """Lines of the whole header, name and all, joined up to 70 bytes; continuation lines begin with a tab."""
    lines = header.split(b"\n")
    out = lines[:1]
    for line in lines[1:]:
        if len(out[-1]) + 1 + len(line) < 70:
            out[-1] += b" " + line
        else:
            out.append(line)
    return b"\r\n".join([out[0], *(x if x[:1] in (b" ", b"\t") else b"\t" + x for x in out[1:])])
