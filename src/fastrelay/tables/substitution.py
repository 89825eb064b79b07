"""`$1`, `${1}`, `$(1)` and `$$` in the results of regexp: tables (mac_parse(3), with numbers only)."""

from __future__ import annotations

import re

from fastrelay.tables.text import SyntaxProblem, printable

Template = list[bytes | int]  # literal text, and the numbers of groups

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_]*")
_CLOSING = {ord("{"): ord("}"), ord("("): ord(")")}


def parse_template(text: bytes) -> Template:
    """Cut `text` at its $numbers; SyntaxProblem (one or more lines) when one is wrong."""
    template: Template = []
    literal = bytearray()
    at = 0
    while at < len(text):
        if text[at] != 0x24:
            literal.append(text[at])
            at += 1
        elif text[at + 1 : at + 2] == b"$":
            literal += b"$"
            at += 2
        else:
            if literal:
                template.append(bytes(literal))
                literal.clear()
            name, at = _name(text, at + 1)
            template.append(_number(name))
    if literal:
        template.append(bytes(literal))
    return template


def highest(template: Template) -> int:
    return max((part for part in template if isinstance(part, int)), default=0)


def expand(template: Template, groups: list[bytes]) -> bytes:
    return b"".join([groups[part] if isinstance(part, int) else part for part in template])


def _name(text: bytes, at: int) -> tuple[bytes, int]:
    """The name after a `$`, and where it ends."""
    closing = _CLOSING.get(text[at]) if at < len(text) else None
    if closing is None:
        match = _PLAIN_NAME.match(text, at)
        assert match is not None
        name, end = match.group(), match.end()
    else:
        end = _closing_position(text, at, closing)
        name, end = text[at + 1 : end], end + 1
    if not name:
        raise SyntaxProblem(f'empty macro name: "{printable(text)}"')
    return name, end


def _closing_position(text: bytes, at: int, closing: int) -> int:
    level = 0
    for position in range(at, len(text)):
        level += (text[position] == text[at]) - (text[position] == closing)
        if level == 0:
            return position
    raise SyntaxProblem(f'truncated macro reference: "{printable(text)}"')


def _number(name: bytes) -> int:
    if not name.isdigit():
        raise SyntaxProblem(f'non-numeric replacement index "{printable(name)}"')
    number = int(name[:9])
    if number < 1:
        raise SyntaxProblem(f'out-of-range replacement index "{printable(name)}"')
    return number
