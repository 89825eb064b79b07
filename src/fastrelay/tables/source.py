"""Read the entries of a postmap(1) source file: `key whitespace value` lines, with Postfix's complaints.

postmap compiles them (plain lines by _source.pyx, which knows less and is faster), texthash: keeps them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fastrelay.tables.table import is_utf8
from fastrelay.tables.text import logical_lines, printable, split_key_value


@dataclass(frozen=True, slots=True)
class Entries:
    """How to read them: the source's name for messages, whether they must be UTF-8, who hears complaints."""

    name: str
    utf8: bool
    complain: Callable[[str], None]
    first: int = 1  # the number of the first line


def is_no_utf8(text: bytes, line: bytes) -> bool:
    """`line` is the text up to its NUL; what is behind that counts unless what is before it is ASCII, as in Postfix."""
    return not (line and line.isascii()) and not is_utf8(text)


def read_entries(lines: Iterable[bytes], how: Entries) -> Iterator[tuple[int, bytes, bytes]]:
    """(line number, key, value) of each good line; the others are complained about and left out."""
    complain = how.complain
    for number, text in logical_lines(lines, lambda said: complain(f"{how.name}: {said}"), how.first):
        line = text.partition(b"\0")[0]  # as C sees it
        where = f"{how.name}, line {number}:"
        if how.utf8 and is_no_utf8(text, line):
            how.complain(f'{where} non-UTF-8 input "{printable(line)}" -- ignoring this line')
            continue
        pair = split_key_value(line)
        if pair is None:
            how.complain(f"{where} unbalanced '\"' in '{printable(line)}' -- ignoring this line")
            continue
        key, value = pair
        if not value:
            how.complain(f"{where} expected format: key whitespace value -- ignoring this line")
            continue
        if key.endswith(b":"):
            how.complain(f'{where} record is in "key: value" format; is this an alias file?')
        yield number, key, value
