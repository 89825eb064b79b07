"""A real worker by itself: how it begins and ends."""

import os
import signal
import socket
import time
from pathlib import Path

import uvloop
from mail_system import free_port

from fastrelay.master import configuration, listeners, mail_log, worker
from fastrelay.master.context import WorkerContext

MAIN = """\
compatibility_level = 3.6
queue_directory = {0}/spool
data_directory = {0}/data
maillog_file = {0}/maillog
maillog_file_prefixes = {0}
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
inet_interfaces = 127.0.0.1
fastrelay_queue_shards = 1
fastrelay_segment_size = 1048576
"""


def make_context(directory: Path, master: socket.socket) -> WorkerContext:
    """What master would hand it; `ready` sends it the signal that a stop right after a start brings."""
    (directory / "main.cf").write_text(MAIN.format(directory))
    port = free_port()
    (directory / "master.cf").write_text(f"127.0.0.1:{port} inet n - n - - smtpd\n")
    (directory / "spool").mkdir()
    config = configuration.load(directory)
    (listener,) = listeners.bind((int(socket.AF_INET), "127.0.0.1", port), 1)
    return WorkerContext(
        number=0, workers=1, shards=[0], config=config, listeners=[(config.services[0], listener)],
        control=listeners.bind_control(directory / "worker.0", lambda path: None), master=master,
        queue_fd=os.open(directory / "spool", os.O_RDONLY), mailbox_helper=None, log=mail_log.open_log(config),
        ready=lambda: os.kill(os.getpid(), signal.SIGTERM),
    )  # fmt: skip


class GapLoop(uvloop.Loop):
    """Counts how often it is started again after a handler is there: a signal that comes in between is lost."""

    gaps = 0

    def run_forever(self):
        self.gaps += signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        super().run_forever()


def live(directory: Path, master: socket.socket, monkeypatch) -> int:
    loop = GapLoop()
    monkeypatch.setattr(worker.uvloop, "new_event_loop", lambda: loop)
    worker.run(make_context(directory, master))
    return loop.gaps


def test_a_signal_at_the_moment_of_readiness_stops_it(tmp_path, monkeypatch):
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            mine.close()
            status = live(tmp_path, theirs, monkeypatch)
        finally:
            os._exit(status)
    theirs.close()
    end, status = time.monotonic() + 15, None
    while status is None and time.monotonic() < end:
        ended, code = os.waitpid(pid, os.WNOHANG)
        status = os.waitstatus_to_exitcode(code) if ended else None
        time.sleep(0.02)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    mine.close()
    assert status == 0, "None: it went on; else how often its loop could lose a signal"
