"""The text forms that tables are written in: logical lines, `key value` lines, lists with braces.

Used by the table types that read text, by postmap and postalias, and by Maps and matching for lists.
Whitespace is that of C's isspace(), as Postfix has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

WHITESPACE = b" \t\n\v\f\r"
_SEPARATORS = " ,\t\r\n"


class SyntaxProblem(Exception):
    """A text is not in the form that it must have; str() is Postfix's wording."""


def logical_lines(
    lines: Iterable[bytes], complain: Callable[[str], None] | None = None, first: int = 1
) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, text) of each logical line: one that starts with whitespace continues it."""
    number = 0
    parts: list[bytes] = []
    for count, line in enumerate(lines, first):
        content = line.lstrip(WHITESPACE)
        if not content or content[:1] == b"#":
            continue
        line = line.removesuffix(b"\n")
        if line[0] not in WHITESPACE:
            if parts:
                yield number, b"".join(parts)
            number, parts = count, [line]
        elif parts:
            parts.append(line)
        elif complain is not None:
            complain(f'logical line must not start with whitespace: "{printable(line)}"')
    if parts:
        yield number, b"".join(parts)


def printable(text: bytes) -> str:
    """For messages: what is not UTF-8 or not printable becomes a question mark, as in Postfix."""
    return "".join(
        c if c.isprintable() else "?" for c in text.decode(errors="replace").replace("\ufffd", "?")
    )


def split_key_value(line: bytes) -> tuple[bytes, bytes] | None:
    """Key and value of a postmap(1) source line, the key as quoted; None when a quote is not closed."""
    if b'"' not in line and b"\\" not in line:  # nearly all lines
        words = line.split(None, 1) or [b""]
        return words[0], words[1].rstrip(WHITESPACE) if len(words) > 1 else b""
    quoted = False
    end = 0
    while end < len(line):
        c = line[end]
        if c == 0x5C:  # a backslash takes the next character along
            end += 1
        elif c == 0x22:
            quoted = not quoted
        elif not quoted and c in WHITESPACE:
            break
        end += 1
    if quoted:
        return None
    return line[:end], line[end:].strip(WHITESPACE)


def balanced(text: str, start: int = 0) -> int:
    """Length of the {...} at `start`, 0 when it does not begin with a brace or has no end (balpar)."""
    if text[start : start + 1] != "{":
        return 0
    level = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            level += 1
        elif text[position] == "}":
            level -= 1
            if level == 0:
                return position + 1 - start
    return 0


def split_list(text: str, separators: str = _SEPARATORS) -> list[str]:
    """Split at commas and whitespace; what is in braces stays together (mystrtokq)."""
    items: list[str] = []
    current: list[str] = []
    level = 0
    for c in text:
        if level == 0 and c in separators:
            if current:
                items.append("".join(current))
                current = []
            continue
        level += (c == "{") - (c == "}" and level > 0)
        current.append(c)
    if current:
        items.append("".join(current))
    return items


def strip_braces(text: str) -> str:
    """What is in the braces that `text` begins with, without the blanks around it (extpar)."""
    length = balanced(text)
    if not text.startswith("{"):
        raise SyntaxProblem(f"no '{{' at start of text in \"{text}\"")
    if length == 0:
        raise SyntaxProblem(f"missing '}}' in \"{text}\"")
    if text[length:].strip():
        raise SyntaxProblem(f"syntax error after '}}' in \"{text}\"")
    return text[1 : length - 1].strip()


def split_name_value(text: str) -> tuple[str, str]:
    """`name = value` (split_nameval)."""
    name, equals, value = text.strip().partition("=")
    name = name.strip()
    if not equals or any(c.isspace() for c in name):
        raise SyntaxProblem("missing '=' after attribute name")
    return name, value.strip()


def source_lines(name: str, complain: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
    """The logical lines of a file, or of `{ {rule}, {rule} }` for its name; OSError, SyntaxProblem."""
    if name.startswith("{"):
        if balanced(name) != len(name):
            raise SyntaxProblem(f'bad syntax: "{name}"')
        rules = [strip_braces(item).encode(errors="surrogateescape") for item in split_list(name[1:-1])]
        return logical_lines(rules)
    with open(name, "rb") as file:
        return iter(list(logical_lines(file, lambda said: complain(f"{name}: {said}"))))
