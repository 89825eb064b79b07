"""proxy:type:name, to be written to: asked through the node's proxywrite process, the one that writes.

A question is {operation, how keys and texts are, lengths of the table's name and of the key} and name, key and
value; an answer is a kind and what belongs to it. Nothing is kept here: what is asked is asked there. What a
lost connection leaves in doubt is asked once more, so delete() of a key may then say that it was not there.
master/proxywrite.py is the other end.
"""

from __future__ import annotations

import asyncio
import enum
import struct
from collections.abc import Iterable

from fastrelay.tables.frames import LONGEST, client_of
from fastrelay.tables.options import Options
from fastrelay.tables.remote import ServerProblem, reason_of
from fastrelay.tables.table import TableError
from fastrelay.tables.writer import Entry, TableWriter

REQUEST = struct.Struct("!B??HI")
PAIR = struct.Struct("!II")  # lengths of a key and its value
LONGEST_TEXT = LONGEST // 4  # of a key, a value, a table's name


class Operation(enum.IntEnum):
    GET = 0
    PUT = 1
    ADD = 2  # put, unless there is a value
    DELETE = 3
    PAGE = 4


class Kind(enum.IntEnum):
    YES = 0  # found, done; the value or the entries behind it
    NO = 1
    UNAVAILABLE = 2  # and why
    FAILED = 3  # this key alone; and why


def pack_entries(entries: Iterable[Entry]) -> bytes:
    return b"".join(PAIR.pack(len(key), len(value)) + key + value for key, value in entries)


def unpack_entries(text: bytes) -> list[Entry]:
    entries: list[Entry] = []
    at = 0
    while at < len(text):
        key_size, value_size = PAIR.unpack_from(text, at)
        middle = at + PAIR.size + key_size
        entries.append((text[at + PAIR.size : middle], text[middle : middle + value_size]))
        at = middle + value_size
    return entries


class ProxyWriter(TableWriter):
    def __init__(self, name: str, how: Options) -> None:
        super().__init__(f"proxy:{name}")
        self._name = name.encode(errors="surrogateescape")
        self._how = how
        self._timeout = how.around.settings.fastrelay_table_timeout + 1.0  # the other end's comes first

    async def get(self, key: bytes) -> bytes | None:
        done, value = await self._ask(Operation.GET, key)
        return value if done else None

    async def put(self, key: bytes, value: bytes, replace: bool = True) -> bool:
        done, _ = await self._ask(Operation.PUT if replace else Operation.ADD, key, value)
        return done

    async def delete(self, key: bytes) -> bool:
        done, _ = await self._ask(Operation.DELETE, key)
        return done

    async def page(self, after: bytes) -> list[Entry]:
        _, entries = await self._ask(Operation.PAGE, after)
        return unpack_entries(entries)

    async def _ask(self, operation: Operation, key: bytes, value: bytes = b"") -> tuple[bool, bytes]:
        """Was it found or done, and what came with that."""
        if len(key) > LONGEST_TEXT or len(value) > LONGEST_TEXT:
            raise TableError(self.label, "a key or a value is too long", unavailable=False)
        how = self._how
        head = REQUEST.pack(operation, how.fold, how.utf8, len(self._name), len(key))
        try:
            async with asyncio.timeout(self._timeout):
                reply = await client_of(how.around.proxywrite).ask(head + self._name + key + value)
        except TimeoutError as error:
            raise TableError(self.label, f"no answer within {self._timeout:g} seconds") from error
        except (OSError, ServerProblem) as error:
            raise TableError(self.label, f"connect to proxywrite: {reason_of(error)}") from error
        kind, text = Kind(reply[0]), reply[1:]
        if kind in (Kind.UNAVAILABLE, Kind.FAILED):
            raise TableError(self.label, text.decode(errors="replace"), kind is Kind.UNAVAILABLE)
        return kind is Kind.YES, text
