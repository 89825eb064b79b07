"""A mail system of real processes: the supervisor in a fork, with a small worker for the real one."""

import contextlib
import os
import selectors
import signal
import socket
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastrelay.config.master_cf import Service
from fastrelay.master import channel
from fastrelay.master.context import WorkerContext
from fastrelay.master.errors import FatalError
from fastrelay.master.settings import MasterSettings
from fastrelay.master.supervisor import Supervisor
from support.ports import free_port
from support.relay import PATIENCE, until


@dataclass
class StandInConfig:
    directory: Path
    settings: MasterSettings
    services: list[Service]
    warnings: list[str] = field(default_factory=list)


class FileLog:
    """One write a line, so that lines of several processes do not mix."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def line(self, service: bytes, text: bytes) -> None:
        os.write(self.fd, b"%b[%d]: %b\n" % (service, os.getpid(), text))

    def warning(self, service: bytes, text: bytes) -> None:
        self.line(service, b"warning: " + text)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self.fd)


def inet_service(port: int) -> Service:
    return Service(
        name=f"127.0.0.1:{port}", type="inet", private=False, unprivileged=True, chroot=False, wakeup=0,
        maxproc=0, command="smtpd", line=1, host="127.0.0.1", port=port,
    )  # fmt: skip


class StandIn:
    """The worker: answers `N PID WORD` to whoever connects."""

    def __init__(self, context: WorkerContext) -> None:
        self.context, self.word = context, b"first"
        self.selector = selectors.DefaultSelector()
        self.receiver = channel.Receiver()
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        for _, listener in context.listeners:
            self.selector.register(listener, selectors.EVENT_READ, self.accept)
        self.selector.register(context.control, selectors.EVENT_READ, self.accept)
        self.selector.register(context.master, selectors.EVENT_READ, self.order)

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = listener.accept()
            client.setblocking(True)
            client.sendall(b"%d %d %b\n" % (self.context.number, os.getpid(), self.word))
            client.close()

    def order(self, master: socket.socket) -> None:
        messages = self.receiver.receive(master)
        if messages is None:
            os._exit(3)
        for message in messages:
            self.word = (message["reload"].warnings or ["reloaded"])[0].encode()
            os.write(message["log_fd"], b"worker %d reloaded\n" % self.context.number)
            os.close(message["log_fd"])

    def run(self) -> None:
        self.context.ready()
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)


class MailSystem:
    def __init__(self, directory: Path) -> None:
        self.directory, self.queue = directory, directory / "spool"
        self.port, self.pid = free_port(), 0
        self.log_path = directory / "maillog"
        self.run, self.helper = (lambda context: StandIn(context).run()), None
        self.loads = lambda config: config
        settings = MasterSettings(
            queue_directory=str(self.queue), data_directory=str(directory / "data"), mail_owner="nobody",
            inet_interfaces=("all",), inet_protocols=("ipv4",), maillog_file=str(self.log_path),
            fastrelay_workers=2, fastrelay_queue_shards=5,
            fastrelay_disk_check="warn",
        )  # fmt: skip
        self.config = StandInConfig(directory, settings, [inet_service(self.port)])

    def settle(self, **changes: object) -> None:
        self.config.settings = replace(self.config.settings, **changes)

    def start(self) -> "MailSystem":
        """Fork the supervisor; return when it says that all workers are ready, raise what it died of."""
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            self._supervise(writing)
        os.close(writing)
        said = os.read(reading, 4096)
        os.close(reading)
        if said != b"ready":
            os.waitpid(self.pid, 0)
            self.pid = 0
            raise FatalError(said.decode())
        return self

    def _supervise(self, writing: int) -> None:
        def announce() -> None:
            os.write(writing, b"ready")

        status = 99
        try:
            status = Supervisor(
                self.config, lambda: self.loads(self.config), lambda config: config.settings,
                lambda config: FileLog(self.log_path), lambda config: FileLog(self.log_path).fd,
                self.run, self.helper, announce,
            ).serve()  # fmt: skip
        except FatalError as error:
            with contextlib.suppress(OSError):
                os.write(writing, str(error).encode())
            status = 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def ask(self, port: int = 0) -> tuple[int, int, str]:
        with socket.create_connection(("127.0.0.1", port or self.port), PATIENCE) as client:
            number, pid, word = client.makefile("rb").readline().split()
        return int(number), int(pid), word.decode()

    def worker_pids(self) -> dict[int, int]:
        """Who serves which control socket now."""
        found = {}
        for path in (self.queue / "control").iterdir():
            with (
                socket.socket(socket.AF_UNIX) as client,
                contextlib.suppress(
                    ConnectionError, FileNotFoundError, ValueError
                ),  # killed while it answered
            ):
                client.settimeout(PATIENCE)
                client.connect(str(path))
                number, pid, _ = client.makefile("rb").readline().split()
                found[int(number)] = int(pid)
        return found

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The supervisor's wait status."""
        _, status = until(lambda: (ended := os.waitpid(self.pid, os.WNOHANG))[0] and ended, self.log)
        self.pid = 0
        return status

    def log(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def wait_log(self, text: str) -> None:
        until(lambda: text in self.log(), lambda: f"{text!r} not in:\n{self.log()}")

    def close(self) -> None:
        if self.pid:
            self.signal(signal.SIGQUIT)
            self.wait()
