"""The queue of a mail system that does not run: what its workers would answer to postqueue, postsuper and postcat.

A child with the workers' rights opens the shards, as a starting worker does, and answers over a socket pair
in the words of the control protocol. The shards' locks keep it and a mail system apart: it is refused while
a worker lives, and a worker that starts meanwhile waits. What it changes is durable before it answers.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

from fastrelay.config import Config, section
from fastrelay.log.maillog import MailLog
from fastrelay.log.sinks import CRITICAL
from fastrelay.master import directories, mail_log, privileges
from fastrelay.master.control import ControlError, Item, answers, encode
from fastrelay.master.control_server import ControlHandlers, dispatch
from fastrelay.master.errors import FatalError
from fastrelay.master.tools import Tools
from fastrelay.queue import queue_id
from fastrelay.queue.settings import QueueSettings
from fastrelay.queue.spool import Spool, SpoolLocked

LOOKING = ("queue", "cat")  # these write nothing but what a recovery mends
EX_IOERR = 74


def ask(config: Config, request: Item) -> Iterator[Item]:
    """As control.Client.call, for the verbs about messages."""
    root = Path(config.text("queue_directory")) / "fastrelay"
    try:
        queue = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # it was never started; or who asks may not see it
        raise ControlError("mail system is down", down=True) from None
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        mine.close()
        _child(config, queue, request, theirs)
    theirs.close()
    os.close(queue)
    try:
        with mine:
            yield from answers(mine, "the queue")
    finally:
        os.waitpid(pid, 0)


def _child(config: Config, queue: int, request: Item, parent: socket.socket) -> NoReturn:
    try:
        try:
            for item in _answer(config, queue, request):
                parent.sendall(encode(item))
            parent.sendall(encode({"end": True}))
        except (ControlError, FatalError, SpoolLocked, OSError) as error:
            parent.sendall(encode({"error": str(error)}))
    except BrokenPipeError:
        pass  # the tool has gone: nobody wants the rest
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _answer(config: Config, queue: int, request: Item) -> Iterator[Item]:
    shards = directories.shards(queue)
    if not shards:
        return
    log = mail_log.open_log(config)
    privileges.set_limits()
    privileges.drop(privileges.find_owner(config.text("mail_owner"), f"{config.directory}/main.cf"))
    clerk = Clerk(config, queue, shards, log)
    if request["verb"] in LOOKING:
        yield from clerk.look(request)
    else:
        yield from clerk.change(request)
    log.flush()


class Clerk:
    """What Tools asks of a worker, with nobody delivering: the queue manager's part is the queue's own."""

    active: tuple[int, ...] = ()

    def __init__(self, config: Config, queue: int, shards: list[int], log: MailLog) -> None:
        self.log = log
        self.spool = Spool(
            queue, shards, section(QueueSettings, config), fatal=self._failed, critical=self._damaged
        )
        self.qmgr = self
        self._long_ids = bool(config.value("enable_long_queue_ids"))
        self.delete, self.expire, self.hold = self.spool.remove, self.spool.expire, self.spool.hold
        self.release, self.requeue = self.spool.release, self.spool.requeue

    def look(self, request: Item) -> Iterator[Item]:
        self._recover()
        yield from self._items(request)

    def change(self, request: Item) -> list[Item]:
        self._recover()
        self.spool.start()
        items = list(self._items(request))
        self.spool.stop()
        return items

    def queue_name(self, message_id: int) -> bytes:
        return queue_id.encode(message_id, self._long_ids)

    def _items(self, request: Item) -> Iterator[Item]:
        return cast(Iterator[Item], dispatch(cast(ControlHandlers, Tools(cast(Any, self))), request))

    def _recover(self) -> None:
        for problem in self.spool.recover():
            self._damaged(problem)

    def _damaged(self, problem: str) -> None:
        self.log.line(b"queue", b"panic: " + problem.encode("utf-8", "replace"), CRITICAL)

    def _failed(self, reason: str) -> None:
        """A write or a sync failed: no file is tried again (reliability 1.5)."""
        self.log.fatal(b"queue", reason.encode("utf-8", "replace"))
        os._exit(EX_IOERR)
