"""TableWriter: a table that is written to while mail flows; tables/writing.py opens one.

For the caches that a relay keeps (addresses that were verified, clients that were tested), and for postmap.
A change is durable when its call ends. Whatever goes wrong is a TableError, and then the change may have been
made or not; asked once more it does no harm.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastrelay.tables.table import TableError

Entry = tuple[bytes, bytes]


class TableWriter:
    """What all have; `label` names the table in messages."""

    def __init__(self, label: str) -> None:
        self.label = label

    async def get(self, key: bytes) -> bytes | None:
        """The value as it is now, None when the key is not there."""
        raise NotImplementedError

    async def put(self, key: bytes, value: bytes, replace: bool = True) -> bool:
        """Set a value. False: there is one already, and it is not to be replaced."""
        raise NotImplementedError

    async def delete(self, key: bytes) -> bool:
        """Take a key out; was it there?"""
        raise NotImplementedError

    async def page(self, after: bytes) -> list[Entry]:
        """Some entries behind the key `after`, in order; none: there are no more. b"" is before the first one."""
        raise TableError(self.label, "sequence operation is not supported", unavailable=False)

    async def entries(self) -> AsyncIterator[Entry]:
        """All entries, page by page; one that is changed meanwhile may be in it as it was or as it is."""
        after = b""
        while page := await self.page(after):
            for entry in page:
                yield entry
            after = page[-1][0]

    async def close(self) -> None:
        """End threads and connections."""
