"""proxy:type:name of a table that asks a server: asked through the node's proxymap process.

A question without an answer, or without one in time, is a TableError. master/proxymap.py is the other end.
"""

from __future__ import annotations

import struct

from fastrelay.tables.frames import LONGEST, client_of
from fastrelay.tables.options import Options
from fastrelay.tables.pending import Answer
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.table import TableError

QUESTION = struct.Struct("!??H")  # keys folded, texts UTF-8, length of the table's name; then name, key
ANSWER = struct.Struct("!Bd")  # what follows, seconds that it may be kept
FOUND, NOT_FOUND, UNAVAILABLE, FAILED = range(4)
WHOLE_KEYS = frozenset({"socketmap", "tcp"})  # types that see no partial keys


class ProxymapTable(RemoteTable):
    """What proxymap knows is kept here no longer than there."""

    type = "proxy"
    keeps_case = True  # the table behind it knows whether to fold

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        self.pattern = name.partition(":")[0] in WHOLE_KEYS
        self._path = how.around.proxymap
        encoded = name.encode(errors="surrogateescape")
        self._question = QUESTION.pack(how.fold, how.utf8, len(encoded)) + encoded
        self._seconds: dict[bytes, float] = {}
        self.timeout += 1.0  # proxymap's own deadline comes first, and says which server it was

    async def fetch(self, key: bytes) -> bytes | None:
        if len(key) > LONGEST // 2:
            return None
        body = await client_of(self._path).ask(self._question + key)
        kind, seconds = ANSWER.unpack_from(body)
        text = body[ANSWER.size :]
        if kind in (UNAVAILABLE, FAILED):
            raise TableError(self.label, text.decode(errors="replace"), unavailable=kind == UNAVAILABLE)
        if len(self._seconds) >= self._lookup_limit:
            self._seconds.clear()  # of answers that were errors in the end
        self._seconds[key] = seconds
        return text if kind == FOUND else None

    def lifetime(self, key: bytes, answer: Answer) -> float:
        return self._seconds.pop(key, 0.0)
