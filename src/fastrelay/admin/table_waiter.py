"""Ask tables from a command-line tool: local ones at once, remote ones in a loop that runs until they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

from fastrelay.tables.pending import answer
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.table import Table

Entry = tuple[bytes, bytes]
Result = TypeVar("Result")


class TableWaiter:
    """`with TableWaiter() as waiter`: the loop is made when the first remote table is asked."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._asked = dict[RemoteTable, None]()  # their connections are ended
        self._at_end: list[Callable[[], None]] = []

    def __enter__(self) -> TableWaiter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for call in self._at_end:
            call()
        if self._runner is not None:
            for table in self._asked:
                self._runner.run(table.close())
            self._runner.close()

    def get(self, table: Table, key: bytes) -> bytes | None:
        """table.get(key), waited for."""
        if not table.remote:
            return table.get(key)
        self._remember(table)
        return self._loop().run(answer(table.get, key))

    def at_end(self, call: Callable[[], None]) -> None:
        """To be called before the loop ends."""
        self._at_end.append(call)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What the work ends with."""
        return self._loop().run(work)

    def items(self, table: Table) -> Iterator[Entry]:
        """table.items(), one after the other whichever way the table gives them."""
        entries = table.items()
        if isinstance(entries, AsyncIterator):
            self._remember(table)
            return self.pull(entries)
        return entries

    def pull(self, entries: AsyncIterator[Entry]) -> Iterator[Entry]:
        """The entries, waited for."""

        async def next_entries() -> list[Entry]:
            """Some at a time: entering the loop costs more than an entry."""
            some: list[Entry] = []
            async for entry in entries:
                some.append(entry)
                if len(some) == 1000:
                    break
            return some

        while some := self._loop().run(next_entries()):
            yield from some

    def _remember(self, table: Table) -> None:
        if isinstance(table, RemoteTable):
            self._asked[table] = None

    def _loop(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner
