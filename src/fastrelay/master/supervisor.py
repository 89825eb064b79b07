"""master: binds, forks, watches, reloads, stops. Small, without an event loop, so that fork is safe.

`serve()` is called by the command line's start and start-fg. Invariants: listening sockets live as long
as master, whatever happens to workers; a worker of one set never runs beside one of another set (their
shards differ); master never reads anything but single bytes from a worker.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastrelay.config.errors import ConfigError
from fastrelay.master import birth, channel, directories, lock
from fastrelay.master.birth import Log, Run
from fastrelay.master.children import Child, Frame, describe_end
from fastrelay.master.companion import Companion, Job
from fastrelay.master.context import WorkerContext, shards_of
from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import find_owner
from fastrelay.master.settings import MasterSettings
from fastrelay.master.socket_set import Plan, SocketSet
from fastrelay.version import VERSION

if TYPE_CHECKING:
    from fastrelay.config import Config

GRACE = 15.0  # seconds from SIGTERM to SIGKILL: deliveries under way may end
START_TRIES = 3  # a worker that never was ready and died so often: this configuration does not start
Helper = Callable[[socket.socket, "Config"], Any]


class Phase(enum.Enum):
    STARTING = "starting"  # not every worker has been ready yet
    RUNNING = "running"
    REPLACING = "replacing"  # the old set of workers ends before the new one starts
    STOPPING = "stopping"


class Supervisor:
    """One mail system: `serve` returns its exit status, or raises FatalError when it cannot start."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        section: Callable[[Config], MasterSettings],
        open_log: Callable[[Config], Log],
        open_log_file: Callable[[Config], int | None],
        run: Run,
        helper: Helper | None = None,
        announce: Callable[[], None] = lambda: None,
        warnings: Callable[[Config], list[str]] = lambda config: config.warnings,
        companions: Sequence[Job] = (),
        lasting: Callable[[Config], object] = lambda config: None,
    ) -> None:
        """`lasting`: what a worker takes at its birth and keeps; when it changes, a reload replaces the workers."""
        self.config = config
        self._load, self._section = load, section
        self._open_log, self._open_log_file = open_log, open_log_file
        self._run, self._helper, self._announce = run, helper, announce
        self._warnings = warnings
        self._jobs, self._lasting = companions, lasting
        self._companions: list[Companion] = []
        self.settings = section(config)
        self.root = Path(self.settings.queue_directory)
        self.phase = Phase.STARTING
        self._children: list[Child] = []
        self._next: tuple[Config, MasterSettings, Plan] | None = None  # what REPLACING goes to
        self._kill_at = 0.0
        self._selector = selectors.DefaultSelector()

    # -- life ------------------------------------------------------------------------------------

    def serve(self) -> int:
        self._prepare()
        try:
            self._start_workers()
            while self.phase is not Phase.STOPPING or self._alive():
                for key, _ in self._selector.select(self._patience()):
                    key.data()
                self._tick(time.monotonic())
        finally:
            self._close()
        return 0

    def _prepare(self) -> None:
        self.owner = find_owner(self.settings.mail_owner, f"{self.config.directory}/main.cf")
        directories.prepare(self.root, Path(self.settings.data_directory), self.owner)
        self._lock = lock.acquire(self.root)
        self._sockets = SocketSet(self.root / "control", self.owner)
        self._sockets.adopt(self._sockets.plan(self.config, self.settings))
        for job in self._jobs:
            self._companions.append(Companion(job, self.root, self.owner, lambda: self._foreign(-1)))
        self._queue_fd = directories.open_queue(self.root, self.owner)
        disk, problems = directories.check_disk(self._queue_fd, self.settings.fastrelay_disk_check)
        self.log = self._open_log(self.config)
        self._say(f"daemon started -- version {VERSION}, configuration {self.config.directory}")
        self._say(f"queue directory: {disk}")
        for problem in problems:
            self._warn(problem)
        self._log_warnings()
        os.chdir(self.root)
        self._catch_signals()
        gc.collect()
        gc.disable()
        gc.freeze()  # the workers share these pages as long as nobody's collector touches them

    def _catch_signals(self) -> None:
        self._wakeup, wakeup = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup.setblocking(False)
        self._wakeup_sender = wakeup
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signals)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGQUIT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)

    def _on_signals(self) -> None:
        numbers = set(self._wakeup.recv(4096))
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGQUIT in numbers:
            self._stop(signal.SIGKILL, "aborting on signal 3")
        elif numbers & {signal.SIGTERM, signal.SIGINT}:
            self._stop(signal.SIGTERM, f"terminating on signal {15 if signal.SIGTERM in numbers else 2}")
        elif signal.SIGHUP in numbers:
            self._reload()

    def _tick(self, now: float) -> None:
        """What time brings: restarts that are due, and an end to patience."""
        if self._kill_at and now >= self._kill_at:
            self._kill_at = 0.0
            self._warn("workers did not stop in time: stopping them with force")
            self._signal_all(signal.SIGKILL)
        if self.phase is Phase.REPLACING and not self._alive():
            self._change_over()
        elif self.phase in (Phase.STARTING, Phase.RUNNING):
            for child in self._children:
                if not child.pid and now >= child.restart_at:
                    self._fork(child)
            for companion in self._companions:
                companion.tick(now)

    def _patience(self) -> float | None:
        """Seconds until _tick has something to do."""
        moments = [self._kill_at] if self._kill_at else []
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            moments += [child.restart_at for child in self._children if not child.pid]
            moments += [companion.due for companion in self._companions if companion.due is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _alive(self) -> bool:
        return any(child.pid or child.helper for child in self._children)

    # -- workers ---------------------------------------------------------------------------------

    def _start_workers(self) -> None:
        for companion in self._companions:
            companion.follow(self.config, self.log)
        self._children = [Child(number) for number in range(self._sockets.workers)]
        for child in self._children:
            self._fork(child)

    def _fork(self, child: Child) -> None:
        helper_end = self._fork_helper(child) if self._helper and self.owner.name else None
        mine, theirs = socket.socketpair()
        context = WorkerContext(
            number=child.number,
            workers=len(self._children),
            shards=shards_of(child.number, len(self._children), self._shard_count()),
            config=self.config,
            listeners=self._sockets.listeners(child.number),
            control=self._sockets.controls[child.number],
            master=theirs,
            queue_fd=self._queue_fd,
            mailbox_helper=helper_end,
            log=self.log,
            ready=lambda: channel.tell_ready(theirs),
        )
        self.log.flush()
        pid = birth.fork()
        if pid == 0:
            foreign = [mine, *self._foreign(child.number)]
            foreign += [companion.listener for companion in self._companions]
            birth.worker(self._run, context, self.owner, foreign, self.log)
        theirs.close()
        if helper_end:
            helper_end.close()
        mine.setblocking(False)
        child.pid, child.channel = pid, mine
        self._selector.register(mine, selectors.EVENT_READ, lambda: self._on_channel(child))

    def _fork_helper(self, child: Child) -> socket.socket:
        """One helper a worker: their socket pair is nobody else's, and each ends with the other."""
        worker_end, helper_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        helper, config = self._helper, self.config
        assert helper is not None
        self.log.flush()
        pid = birth.fork()
        if pid == 0:
            birth.helper(lambda: helper(helper_end, config), [worker_end, *self._foreign(-1)], self.log)
        helper_end.close()
        child.helper = pid
        return worker_end

    def _foreign(self, number: int) -> list[birth.Closable]:
        """What the new process inherited and must not keep."""
        things: list[Any] = [self._selector, self._wakeup, self._wakeup_sender]
        things += [child.channel for child in self._children if child.channel]
        return things + self._sockets.of_others(number)

    def _on_channel(self, child: Child) -> None:
        """The worker said something, or can take more of what we have to say."""
        if child.channel is None:  # its death was noticed earlier in this round
            return
        try:
            said = child.channel.recv(64)
        except BlockingIOError:
            said = None
        except OSError:
            said = b""
        if said == b"":
            self._forget_channel(child)
            return
        if said and channel.READY in said:
            child.ready = True
            if self.phase is Phase.STARTING and all(each.ready for each in self._children):
                self.phase = Phase.RUNNING
                self._announce()
        self._send(child)

    def _send(self, child: Child) -> None:
        if child.channel is None:
            return
        child.flush()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.outgoing else 0)
        self._selector.modify(child.channel, events, lambda: self._on_channel(child))

    def _forget_channel(self, child: Child) -> None:
        if child.channel is not None:
            self._selector.unregister(child.channel)
            child.channel.close()
            child.channel = None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for companion in self._companions:
                ended = companion.reaped(pid, status)
                if ended is not None and self.phase is not Phase.STOPPING:
                    self._warn(ended)
            for child in self._children:
                if child.pid == pid:
                    self._worker_ended(child, status)
                elif child.helper == pid:
                    self._helper_ended(child, status)

    def _worker_ended(self, child: Child, status: int) -> None:
        pid, was_ready = child.pid, child.ready
        child.died(time.monotonic())
        self._forget_channel(child)
        if self.phase in (Phase.STOPPING, Phase.REPLACING) and status in (0, signal.SIGTERM):
            return  # a worker that was still starting dies of the signal
        how = describe_end(status)
        self._warn(f"process fastrelay worker {child.number} pid {pid} {how}")
        if self.phase is Phase.STARTING and not was_ready and len(child.deaths) >= START_TRIES:
            self._stop(signal.SIGKILL, "mail system startup failed")
            raise FatalError(
                f"mail system startup failed: worker {child.number}: {how}; the mail log says why"
            )
        wait = child.restart_at - child.deaths[-1]
        if wait and self.phase is Phase.RUNNING:
            self._warn(f"fastrelay worker {child.number}: bad command startup -- throttling, {wait:g} s")

    def _helper_ended(self, child: Child, status: int) -> None:
        """Status 0: its worker ended first. Else the worker has lost half of its rights: replace both."""
        pid, child.helper = child.helper, 0
        if status and child.pid and self.phase in (Phase.STARTING, Phase.RUNNING):
            self._warn(f"process mailbox helper {child.number} pid {pid} {describe_end(status)}")
            child.signal(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._children:
            child.signal(number)

    # -- reload and stop -------------------------------------------------------------------------

    def _reload(self) -> None:
        if self.phase is not Phase.RUNNING:
            self._warn(f"reload: not now, the mail system is {self.phase.value}")
            return
        try:
            config = self._load()
            settings = self._section(config)
            self._check_unchanged(settings)
            self._open_log(config).close()
            plan = self._sockets.plan(config, settings)
        except (FatalError, ConfigError) as error:
            self._warn(f"reload refused, the old configuration stays: {error}")
            return
        self._say(f"reload -- version {VERSION}, configuration {config.directory}")
        if (
            self._sockets.same_place(plan)
            and settings.fastrelay_queue_shards == self.settings.fastrelay_queue_shards
            and self._lasting(config) == self._lasting(self.config)
        ):
            self._pass_on(config, settings, plan)
        else:
            self._next = (config, settings, plan)
            self.phase = Phase.REPLACING
            self._signal_all(signal.SIGTERM)
            self._kill_at = time.monotonic() + GRACE

    def _check_unchanged(self, settings: MasterSettings) -> None:
        for name in ("queue_directory", "mail_owner"):
            if getattr(settings, name) != getattr(self.settings, name):
                raise FatalError(f"{name} has changed: stop and start the mail system")

    def _pass_on(self, config: Config, settings: MasterSettings, plan: Plan) -> None:
        """The running workers get the new configuration, and their listeners' services in the same order."""
        self._sockets.adopt(plan)
        self._use(config, settings)
        for companion in self._companions:
            companion.follow(config, self.log)  # first: the workers are going to ask it
        services = [service for service, _ in plan.services]
        frames = [
            channel.frame({"reload": config, "services": services, "with_log": with_log})
            for with_log in (False, True)
        ]
        for child in self._children:
            if child.channel is not None:
                fd = self._open_log_file(config)
                child.outgoing.append(Frame(frames[fd is not None], fd))
                self._send(child)

    def _change_over(self) -> None:
        assert self._next is not None
        config, settings, plan = self._next
        self._next, self._kill_at = None, 0.0
        self._sockets.adopt(plan)
        self._use(config, settings)
        self.phase = Phase.RUNNING
        self._start_workers()

    def _use(self, config: Config, settings: MasterSettings) -> None:
        self.config, self.settings = config, settings
        old, self.log = self.log, self._open_log(config)
        old.close()
        self._log_warnings()

    def _shard_count(self) -> int:
        return directories.shard_count(self._queue_fd, self.settings.fastrelay_queue_shards)

    def _stop(self, number: signal.Signals, why: str) -> None:
        if self.phase is Phase.STOPPING and number is signal.SIGTERM:
            return
        self._say(why)
        self.phase = Phase.STOPPING
        self._signal_all(number)
        self._kill_at = time.monotonic() + GRACE if number is signal.SIGTERM else 0.0

    def _close(self) -> None:
        """Nothing of this mail system is left when serve() ends, however it ends."""
        self._signal_all(signal.SIGKILL)
        for child in self._children:
            self._forget_channel(child)
            for pid in (child.pid, child.helper):
                if pid:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, 0)
        for companion in self._companions:
            companion.close()
        self._sockets.close()
        self.log.flush()
        os.close(self._lock)

    # -- words -----------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.log.line(b"master", text.encode())
        self.log.flush()

    def _warn(self, text: str) -> None:
        self.log.warning(b"master", text.encode())
        self.log.flush()

    def _log_warnings(self) -> None:
        for text in self._warnings(self.config):
            self.log.warning(b"master", text.encode())
        self.log.flush()
