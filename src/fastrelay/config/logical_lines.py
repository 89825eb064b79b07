"""Logical lines of main.cf and master.cf, and the splitting of values (postconf(5), master(5)).

A line that starts with whitespace continues the one before; empty lines and lines whose first
non-blank is `#` are ignored wherever they stand. Bytes that are not UTF-8 pass as surrogates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fastrelay.config.errors import ConfigError

BLANKS = " \t\r\n"
COMMA_BLANKS = ", \t\r\n"


def read_text(path: Path) -> str:
    """The file's text, any bytes in it; an unreadable file is a ConfigError."""
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise ConfigError(os.fspath(path), allowed=f"cannot be read: {error.strerror}") from None


def logical_lines(file: str, text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line, text) of each logical line, its parts joined by one space."""
    start, parts = 0, list[str]()
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(BLANKS)
        if not stripped or stripped[0] == "#":
            continue
        if line[0] in BLANKS:
            if not parts:
                raise ConfigError(
                    file, number, stripped, None, "a logical line must not start with whitespace"
                )
            parts.append(stripped)
            continue
        if parts:
            yield start, " ".join(parts)
        start, parts = number, [stripped]
    if parts:
        yield start, " ".join(parts)


def split_setting(text: str) -> tuple[str, str] | str:
    """`name = value` as (name, value), or what is wrong with it."""
    name, equals, value = text.partition("=")
    name = name.strip(BLANKS)
    if not name:
        return "missing parameter name; allowed: name = value"
    if not equals or any(blank in name for blank in BLANKS):
        return "missing '=' after the parameter name; allowed: name = value"
    return name, value.strip(BLANKS)


def split_quoted(text: str, separators: str = COMMA_BLANKS) -> list[str]:
    """Split at separators that are not inside `{ }`; the braces stay."""
    words, word, level = list[str](), list[str](), 0
    for char in text:
        if level == 0 and char in separators:
            if word:
                words.append("".join(word))
                word.clear()
            continue
        if char == "{":
            level += 1
        elif char == "}" and level:
            level -= 1
        word.append(char)
    if word:
        words.append("".join(word))
    return words


def strip_braces(word: str) -> str | None:
    """The text inside a word's `{ }`, blanks around it removed; None when the braces do not end the word."""
    level = 0
    for at, char in enumerate(word):
        level += (char == "{") - (char == "}")
        if level == 0:
            return word[1:at].strip(BLANKS) if at == len(word) - 1 else None
    return None
