"""Threads for libraries that wait: sqlite:, ldap: and nis: ask in them. They end when nobody asks any more.

A table that a reload has replaced is not told so, and its objects may stay for long: what it holds must not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, TypeVar

from fastrelay.tables.stream import IDLE_SECONDS

Result = TypeVar("Result")


class Threads:
    """At most `count` of them, made when they are needed; `at_end` is called in the last moment of one."""

    def __init__(self, count: int, name: str, at_end: Callable[[], None] | None = None) -> None:
        self._count, self._name, self._at_end = count, name, at_end
        self._pool: ThreadPoolExecutor | None = None
        self._working = 0
        self._used = 0.0  # monotonic
        self._watched = False

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """function(*args) in a thread; it goes on there when the one who asked has gone."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, self._name)
        self._working += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self._working -= 1
            self._used = monotonic()
            if not self._watched:
                self._watch()

    def close(self) -> None:
        """End them; what they are at is finished first."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if self._at_end is not None:
                pool.submit(self._at_end)
            pool.shutdown(wait=False)

    def _watch(self) -> None:
        self._watched = True
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire)

    def _retire(self) -> None:
        self._watched = False
        if self._pool is None:
            return
        if not self._working and monotonic() - self._used >= IDLE_SECONDS:
            self.close()
        else:
            self._watch()
