"""What remote tables share to list their entries (items()) for sync-table: patterns, rows, and one kind of error.

A listing has a connection of its own and gets page after page, each within the table's timeout, so that its
memory does not grow with the list. What cannot be completed ends with a TableError: never with half a list.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import TypeVar

from fastrelay.tables.query import Source, Templates
from fastrelay.tables.remote import reason_of
from fastrelay.tables.table import TableError

PAGE = 500  # entries that are asked for at a time
NO_VALUE = b"OK"  # of a list_query that selects keys alone

Entry = tuple[bytes, bytes]
Result = TypeVar("Result")


_KEY = re.compile(r"%[sS]|%[uU]@%[dD]")
_PERCENT = "\0"  # stands for %% while a text is looked at


class KeyPattern:
    """A text with %s, or %u@%d, in it: how a key is spelled on the server."""

    def __init__(self, text: str) -> None:
        before, after = _KEY.split(text.replace("%%", _PERCENT), maxsplit=1)
        self.before, self.after = (part.replace(_PERCENT, "%").encode() for part in (before, after))

    @staticmethod
    def is_in(text: str) -> bool:
        """Is there a whole key in the text, once, and no part of one?"""
        spelled = text.replace("%%", _PERCENT)
        return len(_KEY.findall(spelled)) == 1 and "%" not in _KEY.sub("", spelled)

    def key_of(self, spelled: bytes) -> bytes | None:
        """The key, None when this is none: the prefix in capitals is the same (SMTP:, smtp:)."""
        end = len(spelled) - len(self.after)
        if len(self.before) >= end:
            return None
        if (
            spelled[: len(self.before)].lower() != self.before.lower()
            or spelled[end:].lower() != self.after.lower()
        ):
            return None
        return spelled[len(self.before) : end]


def rows_entries(templates: Templates, rows: Iterable[Iterable[bytes | None]]) -> list[Entry]:
    """Of rows of a key, then what a lookup of it would find."""
    entries: list[Entry] = []
    for key, *values in rows:
        if key and templates.allows(key):
            value = templates.result(key, values or [NO_VALUE])
            if value is not None:
                entries.append((key, value))
    return entries


def list_query(source: Source) -> str:
    """A statement that selects all keys, and what `query` would select for each; "" when there is none."""
    return source.text("list_query")


def required_query(label: str, query: str) -> str:
    """As Postfix's where there is none."""
    if not query:
        raise TableError(label, "sequence operation is not supported", unavailable=False)
    return query


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """One page."""
    async with asyncio.timeout(seconds):
        return await work


async def told_as_table_errors(label: str, pages: AsyncIterator[list[Entry]]) -> AsyncIterator[Entry]:
    """The pages' entries; whatever ends them early is a TableError."""
    try:
        async for page in pages:
            for entry in page:
                yield entry
    except TableError:
        raise
    except TimeoutError as error:
        raise TableError(label, "no answer in time") from error
    except Exception as error:
        raise TableError(label, reason_of(error)) from error
