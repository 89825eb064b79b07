"""A process beside the workers that serves them all: proxymap, proxywrite. The supervisor calls, this keeps its book.

Its listening socket is master's and outlives it: what workers ask while it is replaced waits in the backlog.
It is killed and not asked to end, as it answers only for what is done.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.master import birth, listeners
from fastrelay.master.birth import Closable, Log
from fastrelay.master.children import Child, describe_end
from fastrelay.master.privileges import Owner

if TYPE_CHECKING:
    from fastrelay.config import Config


@dataclass(frozen=True, slots=True)
class Job:
    """What the process is for; `serve` returns only at the end of its life."""

    name: str
    is_wanted: Callable[[Config], bool]
    serve: Callable[[socket.socket, Config, Log], None]


class Companion:
    def __init__(self, job: Job, root: Path, owner: Owner, foreign: Callable[[], Iterable[Closable]]) -> None:
        self._job, self._owner, self._foreign = job, owner, foreign
        self._path = root / "private" / job.name
        self.listener = listeners.bind_control(self._path, self._give_away)
        self._place = Child(0)
        self._config: Config | None = None
        self._log: Log | None = None

    def follow(self, config: Config, log: Log) -> None:
        """A configuration begins to hold: a process of it, or none."""
        self._end()
        self._config, self._log = (config if self._job.is_wanted(config) else None), log
        self.tick(0.0)

    def tick(self, now: float) -> None:
        """Start it when it is due; 0: at once."""
        if self._config is not None and not self._place.pid and (not now or now >= self._place.restart_at):
            self._fork(self._config)

    @property
    def due(self) -> float | None:
        """When tick() has something to do."""
        waits = self._config is not None and not self._place.pid
        return self._place.restart_at if waits else None

    def reaped(self, pid: int, status: int) -> str | None:
        """What to say of its end; None: it was another process, or was meant to end."""
        if pid != self._place.pid:
            return None
        self._place.died(time.monotonic())
        return f"process {self._job.name} pid {pid} {describe_end(status)}"

    def close(self) -> None:
        self._config = None
        self._end()
        self.listener.close()
        self._path.unlink(missing_ok=True)

    def _fork(self, config: Config) -> None:
        log = self._log
        assert log is not None
        log.flush()
        pid = birth.fork()
        if pid == 0:
            serve, listener = self._job.serve, self.listener
            birth.companion(lambda: serve(listener, config, log), self._owner, self._foreign(), log)
        self._place.pid = pid

    def _end(self) -> None:
        pid, self._place.pid = self._place.pid, 0
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _give_away(self, path: Path) -> None:
        if self._owner.name:
            os.chown(path, self._owner.uid, self._owner.gid)
