"""start, start-fg, stop, abort, reload, flush, status: what postfix(1) does for Postfix.

`start` forks twice and waits for one line over a pipe: nothing for success, else what went wrong. The others
find the running master by its lock and speak to it by signals.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.admin.errors import say
from fastrelay.master import lock
from fastrelay.master.errors import FatalError

if TYPE_CHECKING:
    from fastrelay.config import Config
    from fastrelay.master.supervisor import Supervisor

READY = b"ready\n"
PATIENCE = 25.0  # seconds for `stop`: master kills its workers earlier than that


def start(config_dir: Path, args: list[str]) -> int:
    """Return when every listener answers."""
    _no_arguments("start", args)
    config = _load(config_dir)
    if lock.running_pid(_queue(config)) is not None:
        raise FatalError("the fastrelay mail system is already running")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _daemon(config, writing)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.readline()  # not to the end: the workers have inherited the other end
    if said != READY:
        raise FatalError(said.decode(errors="replace").strip() or "mail system startup failed")
    return 0


def start_foreground(config_dir: Path, args: list[str]) -> int:
    _no_arguments("start-fg", args)
    return build(_load(config_dir), lambda: None).serve()


def stop(config_dir: Path, args: list[str]) -> int:
    _no_arguments("stop", args)
    return _end(_queue(_read(config_dir)), signal.SIGTERM, "stopping")


def abort(config_dir: Path, args: list[str]) -> int:
    _no_arguments("abort", args)
    return _end(_queue(_read(config_dir)), signal.SIGQUIT, "aborting")


def reload(config_dir: Path, args: list[str]) -> int:
    """Refuse a configuration that master would refuse, before the signal."""
    _no_arguments("reload", args)
    pid = _running(_queue(_load(config_dir)))
    say("fastrelay", "refreshing the fastrelay mail system")
    os.kill(pid, signal.SIGHUP)
    return 0


def flush(config_dir: Path, args: list[str]) -> int:
    from fastrelay.admin import postqueue

    _no_arguments("flush", args)
    return postqueue.main(config_dir, ["-f"])


def status(config_dir: Path, args: list[str]) -> int:
    _no_arguments("status", args)
    pid = lock.running_pid(_queue(_read(config_dir)))
    if pid is None:
        say("fastrelay", "the fastrelay mail system is not running")
        return 1
    say("fastrelay", f"the fastrelay mail system is running: PID: {pid}")
    return 0


def build(config: Config, announce: Callable[[], None]) -> Supervisor:
    """A supervisor with everything that its workers need imported, before the first fork."""
    from fastrelay.config import section
    from fastrelay.delivery import mailbox_helper
    from fastrelay.delivery.mailbox_settings import MailboxSettings
    from fastrelay.master import configuration, mail_log, preload, proxymap, proxywrite, worker
    from fastrelay.master.companion import Job
    from fastrelay.master.settings import MasterSettings
    from fastrelay.master.supervisor import Supervisor
    from fastrelay.tables.registry import EXTRAS

    texts = list(config.texts())
    preload.everything(kind for kind in EXTRAS if any(f"{kind}:" in text for text in texts))
    return Supervisor(
        config,
        load=lambda: configuration.load(Path(config.directory)),
        section=lambda config: section(MasterSettings, config),
        open_log=mail_log.open_log,
        open_log_file=mail_log.open_log_file,
        run=worker.run,
        helper=lambda sock, config: mailbox_helper.serve(sock, section(MailboxSettings, config)),
        announce=announce,
        warnings=configuration.warnings,
        companions=[
            Job("proxymap", proxymap.is_wanted, proxymap.serve),
            Job("proxywrite", proxywrite.is_wanted, proxywrite.serve),
        ],
        lasting=configuration.lasting,
    )


def _load(config_dir: Path) -> Config:
    from fastrelay.master.configuration import load

    return load(config_dir)


def _read(config_dir: Path) -> Config:
    """For those that look at a running mail system: a mistake elsewhere must not keep it from stopping."""
    from fastrelay.config import read_main

    return read_main(config_dir)


def _queue(config: Config) -> Path:
    return Path(config.text("queue_directory"))


def _no_arguments(command: str, args: list[str]) -> None:
    if args:
        raise FatalError(f"usage: fastrelay {command} (no arguments)")


def _daemon(config: Config, writing: int) -> None:
    """The child of `start`: leave the terminal, become master, and tell the parent how it went."""
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    exit_status = 1
    try:
        exit_status = build(config, lambda: _tell(writing, READY)).serve()
    except Exception as error:  # told to whoever waits, and the process ends with it
        _tell(writing, f"{error}\n".encode())
        if not isinstance(error, FatalError | OSError):
            raise
    finally:
        os._exit(exit_status)


def _tell(writing: int, text: bytes) -> None:
    with contextlib.suppress(OSError):  # the parent was interrupted; the mail system runs all the same
        os.write(writing, text)


def _running(queue: Path) -> int:
    pid = lock.running_pid(queue)
    if pid is None:
        raise FatalError("the fastrelay mail system is not running")
    return pid


def _end(queue: Path, number: signal.Signals, word: str) -> int:
    """Signal master and wait until it is gone, and its workers with it."""
    pid = _running(queue)
    say("fastrelay", f"{word} the fastrelay mail system")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return _until_unlocked(queue)
    signal.pidfd_send_signal(process, number)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    if not ended.poll(PATIENCE * 1000):
        say("fastrelay", "warning: stopping the fastrelay mail system with force")
        signal.pidfd_send_signal(process, signal.SIGKILL)
    return _until_unlocked(queue)


def _until_unlocked(queue: Path) -> int:
    """Workers without a master end by themselves, and the lock with the last of them."""
    deadline = time.monotonic() + PATIENCE
    while lock.is_held(queue):
        if time.monotonic() > deadline:
            raise FatalError("the workers of the fastrelay mail system do not end")
        time.sleep(0.02)
    return 0
