"""What writes a batch and syncs it on a thread: the system's way without the GIL, or any table of file functions.

commit.py starts one batch at a time and asks for its result when the wake-up descriptor becomes readable.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from fastrelay.queue._batch import Batch
from fastrelay.queue._sync import SyncThread
from fastrelay.queue.files import FILES, Buffer, Files, write_all
from fastrelay.queue.segment import Segment


class Writer(Protocol):
    """`is_finished`: the batch that was started is done, and result() will not wait."""

    @property
    def is_finished(self) -> bool: ...
    def start(self, segment: Segment, what: Batch, offset: int) -> None: ...
    def wait(self) -> None: ...
    def result(self) -> None: ...
    def stop(self) -> None: ...
    def run(self) -> None: ...


class PlainWriter:
    """The same by a table of file functions, one call after the other: for simulated disks."""

    def __init__(self, files: Files, wake_fd: int) -> None:
        self._files = files
        self._wake_fd = wake_fd
        self._job: tuple[int, list[Buffer], int] | None = None
        self._given = threading.Semaphore(0)
        self._done = threading.Event()
        self._error: Exception | None = None

    @property
    def is_finished(self) -> bool:
        return self._done.is_set()

    def start(self, segment: Segment, what: Batch, offset: int) -> None:
        self._job, self._error = (segment.fd, what.buffers, offset), None
        self._given.release()

    def wait(self) -> None:
        self._done.wait()

    def result(self) -> None:
        self._done.clear()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._job = None
        self._given.release()

    def run(self) -> None:
        while self._given.acquire() and self._job is not None:
            fd, buffers, offset = self._job
            try:
                write_all(self._files, fd, buffers, offset)
                self._files.fdatasync(fd)
            except Exception as error:
                self._error = error  # raised by result()
            self._done.set()
            os.eventfd_write(self._wake_fd, 1)


def make_writer(files: Files, wake_fd: int) -> Writer:
    return SyncThread(wake_fd) if files is FILES else PlainWriter(files, wake_fd)


def start_thread(run: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=run, name="queue-commit", daemon=True)
    thread.start()
    return thread
