"""From fork to `worker.run`: what a child of master does to become a worker, or a mailbox helper.

Order matters: signals first (they are blocked since the fork), then everything that is another
process's is closed, then the rights go, and only then the worker's code begins.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol

from fastrelay.master import directories, privileges
from fastrelay.master.context import WorkerContext
from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import Owner

Run = Callable[[WorkerContext], Any]


class Log(Protocol):
    """What master and its children need of the mail log."""

    def line(self, service: bytes, text: bytes) -> None: ...
    def warning(self, service: bytes, text: bytes) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Closable(Protocol):
    def close(self) -> None: ...


def fork() -> int:
    """Fork with signals blocked: in the child, master's handlers would swallow them and tell master."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def worker(run: Run, context: WorkerContext, owner: Owner, foreign: Iterable[Closable], log: Log) -> NoReturn:
    """Run the worker; a bug in it is told loudly and ends the process."""
    status = 1
    try:
        _leave_master(foreign)
        privileges.set_limits()
        privileges.let_others_finish()
        privileges.drop(owner)
        privileges.forbid_new_privileges()
        directories.probe(context.queue_fd)
        run(context)
        status = 0
    except FatalError as error:
        log.line(b"worker", b"fatal: " + str(error).encode())
        status = error.status
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        for line in traceback.format_exc().splitlines():
            log.line(b"worker", b"panic: " + line.encode(errors="replace"))
        traceback.print_exc()
    finally:
        _end(log, status)


def companion(serve: Callable[[], Any], owner: Owner, foreign: Iterable[Closable], log: Log) -> NoReturn:
    """A process that serves all workers and has as few rights as they have."""
    status = 1
    try:
        _leave_master(foreign)
        privileges.set_limits()
        privileges.drop(owner)
        privileges.forbid_new_privileges()
        privileges.die_with_parent()
        serve()
    except BaseException:
        for line in traceback.format_exc().splitlines():
            log.line(b"master", b"panic: companion: " + line.encode(errors="replace"))
    finally:
        _end(log, status)


def helper(serve: Callable[[], Any], foreign: Iterable[Closable], log: Log) -> NoReturn:
    """The process that delivers with a user's rights: stays root, serves one worker, ends with it."""
    status = 1
    try:
        _leave_master(foreign)
        privileges.set_limits()
        serve()
        status = 0
    except BaseException:
        for line in traceback.format_exc().splitlines():
            log.line(b"master", b"panic: mailbox helper: " + line.encode(errors="replace"))
    finally:
        _end(log, status)


def _leave_master(foreign: Iterable[Closable]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)  # the terminal's are for master, which passes them on
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for thing in foreign:
        thing.close()
    gc.enable()


def _end(log: Log, status: int) -> NoReturn:
    try:
        log.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
