"""Write to an LMDB file in its place, while others read it: hash:, btree: and lmdb: tables as caches.

All that wait for the disk at one moment are changed in one transaction, which LMDB makes durable as a whole or
not at all; a thread of the table's own does it. Readers take no lock (_lmdb.pyx says why). Other writers are
kept out for the moment: postmap and sync-table by table_lock(), Debian's postmap by a lock of fcntl(2). The file
is opened for each batch, as they may have replaced it; one that is not there is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import lmdb

from fastrelay.tables.build import BuildError, Form, disk_is_full, ending, key_problem, map_size, update
from fastrelay.tables.lmdb_table import LmdbTable
from fastrelay.tables.options import Options
from fastrelay.tables.publish import Busy, Ownership, table_lock
from fastrelay.tables.table import TableError, check_value, choose_fold, strerror
from fastrelay.tables.writer import Entry, TableWriter

# struct flock; of the open file, not of the process: that would lose it when a reader here closes the same file
WHOLE_FILE = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
LOCK_PAUSE = 0.01  # seconds between tries to get a lock
PAGE_ENTRIES, PAGE_BYTES = 1000, 1 << 18
PRIVATE = Ownership(0o600, None)  # of a table that is made here

Change = Callable[[lmdb.Transaction, bytes], bool]  # what keys and values end in -> was it done?
Result = TypeVar("Result")


class LmdbWriter(TableWriter):
    def __init__(self, table: LmdbTable, how: Options) -> None:
        super().__init__(table.label)
        settings = how.around.settings
        self.path = table.path
        self._table = table
        self._utf8 = how.utf8
        self._fold = choose_fold(how.fold, how.utf8)
        self._timeout = settings.fastrelay_table_timeout
        self._limit = settings.fastrelay_table_lookup_limit
        self._thread = ThreadPoolExecutor(1, "lmdb")
        self._waiting: list[tuple[Change, asyncio.Future[bool]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: bytes) -> bytes | None:
        try:
            return self._table.get(key)
        except TableError:
            if os.path.lexists(self.path):
                raise
            return None  # it will be made

    async def put(self, key: bytes, value: bytes, replace: bool = True) -> bool:
        folded = self._fold(key)
        problem = "key is not UTF-8" if folded is None else key_problem(folded)
        if folded == b"":
            problem = "key is empty"
        if problem is None and (b"\0" in value or not value):
            problem = "value is empty or has a NUL in it"
        if problem is not None or folded is None:
            raise TableError(self.label, problem or "", unavailable=False)
        if self._utf8:
            check_value(self.label, key, value)
        spelled = folded
        return await self._change(
            lambda transaction, end: transaction.put(spelled + end, value + end, overwrite=replace)
        )

    async def delete(self, key: bytes) -> bool:
        folded = self._fold(key)
        if not folded or key_problem(folded) is not None:
            return False
        ends = [folded + b"\0", folded]
        return await self._change(
            lambda transaction, end: any([transaction.delete(spelled) for spelled in ends])
        )

    async def page(self, after: bytes) -> list[Entry]:
        return await self._in_thread(lambda: self._read_page(after))

    async def close(self) -> None:
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _change(self, change: Change) -> bool:
        """Wait for the batch that makes the change."""
        if len(self._waiting) >= self._limit:
            raise TableError(self.label, "too many changes are under way")
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await self._in_time(future)

    async def _work(self) -> None:
        """One batch after the other: all that came while the one before was being written."""
        while self._waiting:
            batch = [pair for pair in self._waiting if not pair[1].done()]  # done: gave up
            self._waiting = []
            try:
                answers = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._commit, [change for change, _ in batch]
                )
            except TableError as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(TableError(self.label, error.reason, error.unavailable))
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        self._task = None

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await self._in_time(asyncio.get_running_loop().run_in_executor(self._thread, function))

    async def _in_time(self, future: asyncio.Future[Result]) -> Result:
        try:
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError as error:
            raise TableError(self.label, f"no answer within {self._timeout:g} seconds") from error

    # In the thread

    def _commit(self, changes: list[Change]) -> list[bool]:
        """All of them or none."""
        with self._told_as_table_errors(), self._alone() as environment:
            while True:
                try:
                    with environment.begin(write=True) as transaction:
                        end = ending(transaction, Form())
                        return [change(transaction, end) for change in changes]
                except lmdb.MapFullError:
                    environment.set_mapsize(2 * environment.info()["map_size"])

    def _read_page(self, after: bytes) -> list[Entry]:
        with (
            self._told_as_table_errors(),
            self._alone() as environment,
            environment.begin() as transaction,
            transaction.cursor() as cursor,
        ):
            stored = after + ending(transaction, Form()) if after else b""
            there = cursor.set_range(stored) if stored else cursor.first()
            if there and cursor.key() == stored:
                there = cursor.next()
            page: list[Entry] = []
            size = 0
            while there and len(page) < PAGE_ENTRIES and size < PAGE_BYTES:
                page.append((cursor.key().removesuffix(b"\0"), cursor.value().removesuffix(b"\0")))
                size += len(page[-1][0]) + len(page[-1][1])
                there = cursor.next()
            return page

    @contextlib.contextmanager
    def _alone(self) -> Iterator[lmdb.Environment]:
        """The file, opened for this once: nobody else changes or replaces it meanwhile."""
        with contextlib.ExitStack() as stack:
            if not os.path.exists(self.path):
                self._make()
            self._patiently(lambda: stack.enter_context(table_lock(self.path, wait=False)))
            file = stack.enter_context(open(self.path, "rb+"))
            self._patiently(lambda: fcntl.fcntl(file, fcntl.F_OFD_SETLK, WHOLE_FILE))
            size = map_size(os.fstat(file.fileno()).st_size)
            environment = lmdb.open(
                f"/proc/self/fd/{file.fileno()}",
                map_size=size,
                subdir=False,
                lock=False,
                create=False,
                max_dbs=0,
                meminit=True,
            )
            stack.callback(environment.close)
            yield environment

    def _make(self) -> None:
        with contextlib.ExitStack() as stack:
            self._patiently(lambda: stack.enter_context(table_lock(self.path, wait=False)))
            if not os.path.exists(self.path):
                update(self.path, [], Form(), PRIVATE, lambda line, key: None)

    def _patiently(self, take: Callable[[], object]) -> None:
        """Try to get a lock for as long as anybody waits for us."""
        end = time.monotonic() + self._timeout
        while True:
            try:
                take()
                return
            except (Busy, BlockingIOError):
                if time.monotonic() > end:
                    raise
            time.sleep(LOCK_PAUSE)

    @contextlib.contextmanager
    def _told_as_table_errors(self) -> Iterator[None]:
        try:
            yield
        except (Busy, BuildError) as error:
            raise TableError(self.label, str(error)) from error
        except (OSError, lmdb.Error) as error:
            text = strerror(error) if isinstance(error, OSError) else str(error)
            if isinstance(error, lmdb.Error) and disk_is_full(os.path.dirname(self.path) or "."):
                text = "No space left on device"
            raise TableError(self.label, f"open database {self.path}: {text}") from error
