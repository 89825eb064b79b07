"""A server's table that is written to: memcache: and redis:, whose own files say how."""

from __future__ import annotations

from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.table import TableError
from fastrelay.tables.writer import TableWriter


class RemoteWriter(TableWriter):
    """Each call asks the server: what the table keeps of answers is for others."""

    def __init__(self, table: RemoteTable) -> None:
        super().__init__(table.label)
        self._table = table

    async def get(self, key: bytes) -> bytes | None:
        return await self._table.get_now(key)

    async def put(self, key: bytes, value: bytes, replace: bool = True) -> bool:
        if not value or b"\0" in value:
            raise TableError(self.label, "value is empty or has a NUL in it", unavailable=False)
        return await self._table.change(key, value, replace)

    async def delete(self, key: bytes) -> bool:
        return await self._table.change(key, None)

    async def close(self) -> None:
        await self._table.close()
