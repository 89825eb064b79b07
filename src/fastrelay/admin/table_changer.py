"""Change tables from a command-line tool, entry by entry: a server's, and those of the proxywrite process.

postmap calls it for -d of memcache: and redis:, and for -i, -d and -s of proxy:, which need a running mail system.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any

from fastrelay.admin.table_waiter import TableWaiter
from fastrelay.config import Config
from fastrelay.master.table_surroundings import PROXYWRITE, table_surroundings
from fastrelay.master.unix_path import socket_name
from fastrelay.tables.writer import Entry
from fastrelay.tables.writing import open_writer

AT_ONCE = 500  # changes that wait for the disk together


class TableChanger:
    """TableError of whatever goes wrong."""

    def __init__(
        self,
        spec: str,
        configuration: Config,
        complain: Callable[[str], None],
        waiter: TableWaiter,
        fold: bool,
        utf8: bool,
    ) -> None:
        socket = socket_name(Path(configuration.text("queue_directory")) / PROXYWRITE)
        around = table_surroundings(configuration, complain, proxywrite=socket)
        self._writer = open_writer(spec, fold=fold, utf8=utf8, around=around)
        self._waiter = waiter

    def put(
        self,
        entries: Iterable[tuple[int, bytes, bytes]],
        replace: bool,
        duplicate: Callable[[int, bytes], None] | None,
    ) -> None:
        """Add entries (line, key, value); `duplicate(line, key)` hears of those that are there already."""
        remaining = iter(entries)
        while some := list(itertools.islice(remaining, AT_ONCE)):
            stored = self._together(self._writer.put(key, value, replace) for _, key, value in some)
            for (line, key, _), done in zip(some, stored, strict=True):
                if not done and duplicate is not None:
                    duplicate(line, key)

    def delete(self, keys: Iterable[bytes]) -> bool:
        """Was one of them there?"""
        remaining, found = iter(keys), False
        while some := list(itertools.islice(remaining, AT_ONCE)):
            found |= any(self._together(map(self._writer.delete, some)))
        return found

    def entries(self) -> Iterator[Entry]:
        return self._waiter.pull(self._writer.entries())

    def close(self) -> None:
        self._waiter.run(self._writer.close())

    def _together(self, changes: Iterable[Coroutine[Any, Any, bool]]) -> list[bool]:
        """Begun in their order."""

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*changes)

        return self._waiter.run(all_of_them())
