"""$name expansion: `$name`, `${name?x:y}`, `${{a} == {b} ? {x} : {y}}`, `$$` (postconf(5), DESCRIPTION).

`parse` turns a value into a tuple of nodes once; `Scope` evaluates it, `references` lists its names.
A reference that loops, nests too deep or grows without bound is an ExpandError: never a hang.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

NESTING_LIMIT = 100  # Postfix: "unreasonable macro call nesting"
SIZE_LIMIT = 1 << 20  # characters; a value that doubles itself level by level stops here

_BLANKS = " \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_]+")
_OPERATOR = re.compile(r"([<>!=?+\-*/~&|%]*)([A-Za-z]*)")
_LEVEL = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", re.ASCII)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ExpandError(Exception):
    """A value that cannot be expanded; the text says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`$name`, with what to put there when it is set and when it is empty (None: its own value)."""

    name: str
    conditional: bool = False
    if_set: Nodes = ()
    if_empty: Nodes = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """`${{left} operator {right} ? {if_true} : {if_false}}`."""

    left: Nodes
    operator: str
    level: bool  # compare as compatibility levels: 3.10 is above 3.9
    right: Nodes
    if_true: Nodes
    if_false: Nodes


Nodes = tuple["str | Reference | Relation", ...]


def compatibility_level(text: str) -> tuple[int, int, int]:
    """major[.minor[.patch]] as numbers to compare."""
    match = _LEVEL.fullmatch(text.strip(_BLANKS))
    if not match:
        raise ExpandError(f'malformed compatibility level "{text}"; allowed: number.number.number')
    return int(match[1]), int(match[2] or 0), int(match[3] or 0)


@lru_cache(maxsize=4096)
def parse(text: str, depth: int = 0) -> Nodes:
    """The nodes of a value."""
    if depth > NESTING_LIMIT:
        raise ExpandError("expressions nest too deep")
    nodes, literal, at = list[str | Reference | Relation](), list[str](), 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar < 0:
            dollar = len(text)
        literal.append(text[at:dollar])
        at = dollar + 1
        if dollar == len(text):
            break
        if text[at : at + 1] == "$":
            literal.append("$")
            at += 1
            continue
        node, at = _parse_reference(text, at, depth)
        nodes += ["".join(literal), node] if any(literal) else [node]
        literal.clear()
    return (*nodes, "".join(literal)) if any(literal) else tuple(nodes)


def _parse_reference(text: str, at: int, depth: int) -> tuple[Reference | Relation, int]:
    """What stands after a `$`, and where it ends."""
    if text[at : at + 1] in ("{", "("):
        end = _closing(text, at)
        return _parse_expression(text[at + 1 : end], depth + 1), end + 1
    match = _NAME.match(text, at)
    if not match:
        raise ExpandError('empty name after "$"; write "$$" for a "$"')
    return Reference(match[0]), match.end()


def _closing(text: str, at: int) -> int:
    """Where the brace or parenthesis at `at` is closed."""
    opening, level = text[at], 0
    closing = {"{": "}", "(": ")"}[opening]
    for position in range(at, len(text)):
        level += (text[position] == opening) - (text[position] == closing)
        if level == 0:
            return position
    raise ExpandError(f'"{opening}" without "{closing}"')


def _parse_expression(body: str, depth: int) -> Reference | Relation:
    """The inside of `${...}`."""
    if body.lstrip(_BLANKS).startswith("{"):
        return _parse_relation(body.lstrip(_BLANKS), depth)
    match = _NAME.match(body)
    name, rest = (match[0], body[match.end() :]) if match else ("", body)
    if rest and rest[0] not in "?:":
        raise ExpandError(f'"?" or ":" expected after "{name}" in "${{{body}}}"')
    if not name:
        raise ExpandError(f'parameter name expected in "${{{body}}}"')
    if not rest:
        return Reference(name)
    if_set, if_empty = _parse_choices(rest, depth)
    return Reference(name, True, if_set, if_empty)


def _parse_relation(body: str, depth: int) -> Relation:
    left, rest = _take_braces(body)
    match = _OPERATOR.match(rest)
    sign, suffix = (match[1], match[2]) if match else ("", "")
    # "?" and ":" belong to the choices, so `{a}==?` names no operator
    if sign not in _COMPARE or suffix not in ("", "level"):
        raise ExpandError(f'one of == != < <= > >= (or <level ...) expected after "{{{left}}}"')
    rest = rest[len(sign) + len(suffix) :].lstrip(_BLANKS)
    if not rest.startswith("{"):
        raise ExpandError(f'"{{value}}" expected after "{sign}{suffix}"')
    right, rest = _take_braces(rest)
    if rest and rest[0] not in "?:":
        raise ExpandError(f'"?" or ":" expected at "{rest[:20]}"')
    if_true, if_false = _parse_choices(rest, depth) if rest else (("true",), ())
    return Relation(parse(left, depth), sign, suffix == "level", parse(right, depth), if_true, if_false)


def _take_braces(text: str) -> tuple[str, str]:
    """The inside of the braces that the text starts with, and what follows after blanks."""
    end = _closing(text, 0)
    return text[1:end], text[end + 1 :].lstrip(_BLANKS)


def _parse_choices(rest: str, depth: int) -> tuple[Nodes, Nodes]:
    """`?x`, `?{x}`, `?{x}:y`, `:y`: what to put when true and when false."""
    when_true, when_false = "", ""
    if rest[0] == "?":
        when_true, rest = _take_choice(rest[1:])
        if rest and rest[0] != ":":
            raise ExpandError(f'":" expected at "{rest[:20]}"')
    if rest:
        when_false, rest = _take_choice(rest[1:])
        if rest:
            raise ExpandError(f'unexpected text at "{rest[:20]}"')
    return parse(when_true, depth), parse(when_false, depth)


def _take_choice(text: str) -> tuple[str, str]:
    """`{x}` and the rest; without braces all of the text is the choice."""
    stripped = text.lstrip(_BLANKS)
    return _take_braces(stripped) if stripped.startswith("{") else (text, "")


def references(nodes: Nodes) -> Iterator[tuple[str, bool]]:
    """(name, whether it is only tested) of each reference, in the branches not taken too."""
    for node in nodes:
        if isinstance(node, Reference):
            yield node.name, node.conditional
            yield from references(node.if_set)
            yield from references(node.if_empty)
        elif isinstance(node, Relation):
            for part in (node.left, node.right, node.if_true, node.if_false):
                yield from references(part)


class Scope:
    """Names and their raw values for one evaluation; what was expanded is kept."""

    def __init__(self, raw: Callable[[str], str | None]) -> None:
        self._raw = raw
        self._known: dict[str, str] = {}
        self._open: list[str] = []  # the names being expanded, outermost first

    def expand_name(self, name: str) -> str:
        """The expanded value; an undefined name is empty."""
        known = self._known.get(name)
        if known is not None:
            return known
        if name in self._open:
            raise ExpandError(f"it refers to itself: {' -> '.join((*self._open, name))}")
        if len(self._open) >= NESTING_LIMIT:
            raise ExpandError(f"references nest too deep at {name}")
        raw = self._raw(name)
        self._open.append(name)
        try:
            value = self.expand(parse(raw)) if raw else ""
        finally:
            self._open.pop()
        self._known[name] = value
        return value

    def expand(self, nodes: Nodes) -> str:
        """The text of parsed nodes."""
        text = "".join(node if isinstance(node, str) else self._evaluate(node) for node in nodes)
        if len(text) > SIZE_LIMIT:
            raise ExpandError(f"it expands to more than {SIZE_LIMIT} characters")
        return text

    def _evaluate(self, node: Reference | Relation) -> str:
        if isinstance(node, Relation):
            return self.expand(node.if_true if self._holds(node) else node.if_false)
        if not node.conditional:
            return self.expand_name(node.name)
        # Postfix tests the value as written, before expansion
        return self.expand(node.if_set if self._raw(node.name) else node.if_empty)

    def _holds(self, node: Relation) -> bool:
        left, right = self.expand(node.left), self.expand(node.right)
        compare = _COMPARE[node.operator]
        if node.level:
            return bool(compare(compatibility_level(left), compatibility_level(right)))
        if _all_digits(left) and _all_digits(right):
            return bool(compare(_number(left), _number(right)))
        return bool(
            compare(left.encode("utf-8", "surrogateescape"), right.encode("utf-8", "surrogateescape"))
        )


def _all_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(digits: str) -> tuple[int, str]:
    """A number of any length, compared without converting it."""
    significant = digits.lstrip("0")
    return len(significant), significant
