"""RemoteTable: what all tables that ask a server share. A type gives fetch(); nothing here ever blocks the loop.

get() answers from the cache, or starts the lookup, once for each key, and raises Pending (tables/pending.py).
A lookup has one deadline for everything: waiting for a connection, connecting, asking each host in turn.
A server that fails or is too slow is a TableError, never "not found"; it is told to the log, and for a
moment nobody asks that server again. Bounded are: entries of the cache, the lookups under way, the
connections (`connection_limit`, which a type's pool obeys).
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from time import monotonic
from typing import ClassVar

from fastrelay.tables.options import Options
from fastrelay.tables.pending import Answer, Pending, recall
from fastrelay.tables.table import Table, TableError, check_value, choose_fold

LONGEST_KEPT = 16_384  # bytes of an answer; a longer one is asked for each time


class RemoteTable(Table):
    """A type gives `fetch`, and `close` when it holds connections.

    fetch(key) gets the folded key and answers None when the server knows that the key is not there. What
    it raises is a failure: TableError with unavailable=False when it is this key's own (the next lookup asks
    the server again at once), any other exception when the server could not be asked.
    """

    remote = True
    keeps_case: ClassVar[bool] = False  # True: keys reach the server as they are (socketmap, tcp)
    writable: ClassVar[bool] = False  # True: store() and remove() are there

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name)
        settings = how.around.settings
        self._utf8 = how.utf8
        self._fold = choose_fold(how.fold and not self.keeps_case, how.utf8)
        self._complain = how.around.complain
        self.cache_time = settings.fastrelay_table_cache_time
        self.negative_cache_time = settings.fastrelay_table_negative_cache_time
        self.timeout = settings.fastrelay_table_timeout
        self.connection_limit = settings.fastrelay_table_connection_limit
        self._retry_time = settings.fastrelay_table_retry_time
        self._cache_limit = settings.fastrelay_table_cache_limit
        self._lookup_limit = settings.fastrelay_table_lookup_limit
        self._cache: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()  # the key used last at the end
        self._under_way: dict[bytes, asyncio.Task[Answer]] = {}
        self._failure: TableError | None = None  # why the server could not be asked
        self._rests_until = 0.0  # monotonic; until then nobody asks it

    async def fetch(self, key: bytes) -> bytes | None:
        """The value on the server, None when it is not there."""
        raise NotImplementedError

    async def store(self, key: bytes, value: bytes, replace: bool) -> bool:
        """Set a folded key's value; False: it has one, and that is not to be replaced. Errors as those of fetch."""
        raise NotImplementedError

    async def remove(self, key: bytes) -> bool:
        """Delete a folded key; was it there? Errors as those of fetch."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the connections."""

    def get(self, key: bytes) -> bytes | None:
        """From the cache; Pending when the server has to be asked."""
        folded = self._fold(key)
        if folded is None:
            return None
        kept = self._cache.get(folded)
        if kept is None or kept[0] <= monotonic():
            return self._ask(folded)
        self._cache.move_to_end(folded)
        answer = kept[1]
        return self._say(answer) if isinstance(answer, TableError) else answer

    async def get_now(self, key: bytes) -> bytes | None:
        """From the server, whatever is kept here."""
        folded = self._fold(key)
        return None if folded is None else self._say(await self._finish(folded))

    async def change(self, key: bytes, value: bytes | None, replace: bool = True) -> bool:
        """Set a key's value, or with None delete it; was that done? TableError."""
        folded = self._fold(key)
        if folded is None:
            raise TableError(self.label, "key is not UTF-8", unavailable=False)
        try:
            async with asyncio.timeout(self.timeout) as limit:
                if value is None:
                    return await self.remove(folded)
                return await self.store(folded, value, replace)
        except TableError:
            raise
        except Exception as error:
            raise TableError(self.label, self._why(error, limit)) from error
        finally:
            self._cache.pop(folded, None)

    def lifetime(self, key: bytes, answer: Answer) -> float:
        """How long an answer that has just come may be kept."""
        return self.cache_time if answer is not None else self.negative_cache_time

    def seconds_left(self, key: bytes) -> float:
        """How long the answer that is kept for the key will be."""
        folded = self._fold(key)
        kept = None if folded is None else self._cache.get(folded)
        return 0.0 if kept is None else max(0.0, kept[0] - monotonic())

    def _ask(self, key: bytes) -> bytes | None:
        """What came since the evaluation began, or Pending."""
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        known = recall(self, key)
        if known is None:
            raise Pending({(self, key): self._lookup(key)})
        return self._say(known[0])

    def _lookup(self, key: bytes) -> asyncio.Task[Answer]:
        """The lookup under way for this key, a new one if there is none."""
        task = self._under_way.get(key)
        if task is not None:
            return task
        if self._failure is not None and monotonic() < self._rests_until:
            self._say(self._failure)
        if len(self._under_way) >= self._lookup_limit:
            raise TableError(self.label, "too many lookups are under way")
        task = asyncio.get_running_loop().create_task(self._finish(key))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key, None))
        return task

    async def _finish(self, key: bytes) -> Answer:
        """Fetch within the deadline, and keep what comes."""
        answer: Answer
        try:
            async with asyncio.timeout(self.timeout) as limit:
                answer = await self.fetch(key)
            if answer is not None and self._utf8:
                check_value(self.label, key, answer)
            if answer is not None and b"\0" in answer:
                raise TableError(self.label, "a value has a null byte", unavailable=False)
        except TableError as error:
            answer = TableError(self.label, error.reason, error.unavailable)
        except UnicodeError:  # of this key: nothing is wrong with the server
            answer = TableError(self.label, "a text is not UTF-8", unavailable=False)
        except Exception as error:
            answer = TableError(self.label, self._why(error, limit))
        if isinstance(answer, TableError):
            self._failed(key, answer)
        else:
            self._failure = None
            self._keep(key, answer, self.lifetime(key, answer))
        return answer

    def _why(self, error: Exception, limit: asyncio.Timeout) -> str:
        return f"no answer within {self.timeout:g} seconds" if limit.expired() else reason_of(error)

    def _failed(self, key: bytes, error: TableError) -> None:
        """A failure is remembered for a moment: of the whole server, or of this key alone."""
        self._complain(f"{self.label}: {error.reason}")
        if error.unavailable:
            self._failure, self._rests_until = error, monotonic() + self._retry_time
        else:
            self._keep(key, error, self._retry_time)

    def _keep(self, key: bytes, answer: Answer, seconds: float) -> None:
        if seconds <= 0 or (isinstance(answer, bytes) and len(answer) > LONGEST_KEPT):
            return
        self._cache[key] = (monotonic() + seconds, answer)
        self._cache.move_to_end(key)
        if len(self._cache) > self._cache_limit:
            self._cache.popitem(last=False)

    def _say(self, answer: Answer) -> bytes | None:
        """Errors are raised as copies: one that is raised often would gather its tracebacks."""
        if isinstance(answer, TableError):
            raise TableError(self.label, answer.reason, answer.unavailable)
        return answer


class ServerProblem(Exception):
    """For what a type finds wrong with its server; str() tells it in one line."""


def reason_of(error: Exception) -> str:
    """In one line: the system's words, or a library's with the kind of error."""
    if isinstance(error, OSError) and error.strerror:
        if type(error).__module__ == "builtins" and error.errno:
            return os.strerror(error.errno)  # asyncio has words of its own
        return error.strerror
    if isinstance(error, ServerProblem):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
