"""A running fastrelay or Debian's Postfix with one listener for each set of settings that the dialogues have."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from support.dialogue import Conversation
from support.ports import free_port
from support.receive_lab import MAIN
from support.relay import PATIENCE

Settings = tuple[tuple[str, str], ...]
POSTFIX_USABLE = os.geteuid() == 0 and shutil.which("postfix") is not None
POSTFIX_MASTER = Path("/usr/share/postfix/master.cf.dist")
TRANSPORTS = "".join(
    f"{name} unix - - n - - {command}\n"
    for name, command in {
        "discard": "discard",
        "error": "error",
        "retry": "error",
        "smtp": "smtp",
        "relay": "smtp",
    }.items()
)
DISCARD = {f"{kind}_transport": "discard:" for kind in ("local", "relay", "virtual", "default")}


class Server:
    def __init__(self, wanted: Iterable[Settings]) -> None:
        self.ports = {settings: free_port() for settings in dict.fromkeys(wanted)}
        self.dir = Path(tempfile.mkdtemp(prefix="fastrelay-dialogues-"))
        self.dir.chmod(0o755)
        self.etc = self.dir / "etc"
        for name in ("etc", "spool", "data"):
            (self.dir / name).mkdir()

    def listeners(self) -> str:
        return "".join(
            f"127.0.0.1:{port} inet n - n - - smtpd"
            + "".join(f" -o {{ {name} = {value} }}" for name, value in settings)
            + "\n"
            for settings, port in self.ports.items()
        )

    def write(self, main: dict[str, str], master: str) -> None:
        places = {
            "queue_directory": f"{self.dir}/spool",
            "data_directory": f"{self.dir}/data",
            "maillog_file": f"{self.dir}/maillog",
            "maillog_file_prefixes": f"{self.dir}",
        }
        text = "".join(f"{name} = {value}\n" for name, value in (MAIN | DISCARD | places | main).items())
        (self.etc / "main.cf").write_text(text)
        (self.etc / "master.cf").write_text(master)

    def wait_listening(self) -> None:
        end = time.monotonic() + PATIENCE
        for port in self.ports.values():
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), PATIENCE).close()
                    break
                assert time.monotonic() < end, f"nothing listens: {self.log()[-2000:]}"
                time.sleep(0.03)

    def log(self) -> str:
        path = self.dir / "maillog"
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""

    def wait_gone(self, client: str) -> str:
        """The log once this client's session has ended in it."""
        end = time.monotonic() + PATIENCE
        while f"disconnect from unknown[{client}]" not in (log := self.log()):
            assert time.monotonic() < end, f"no disconnect of {client} in {log[-2000:]}"
            time.sleep(0.02)
        return log

    def messages_of(self, client: str, wanted: int, patience: float) -> int:
        """How many messages of this client were queued."""
        names = set(re.findall(rf": (\w+): client=unknown\[{re.escape(client)}\]", self.wait_gone(client)))
        end = time.monotonic() + patience
        while True:
            queued = set(re.findall(r": (\w+): from=<.*\(queue active\)", self.log()))
            if len(names & queued) >= wanted or time.monotonic() > end:
                return len(names & queued)
            time.sleep(0.02)


class Fastrelay(Server):
    def __enter__(self) -> Fastrelay:
        self.write({"fastrelay_workers": "1", "mail_owner": "nobody"}, self.listeners() + TRANSPORTS)
        self._output = (self.dir / "output").open("wb")
        command = [sys.executable, "-m", "fastrelay", "-c", str(self.etc), "start-fg"]
        self._process = subprocess.Popen(command, stdout=self._output, stderr=self._output)
        self.wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(PATIENCE) == 0, (self.dir / "output").read_text()
        finally:
            self._process.kill()
            self._output.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def is_alive(self) -> bool:
        return self._process.poll() is None and "panic" not in self.log()


class Postfix(Server):
    def __enter__(self) -> Postfix:
        main = {
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "alias_database": "",
            "smtpd_forbid_bare_newline_exclusions": "",
            "smtpd_tls_security_level": "none",
            "smtputf8_enable": "yes",
        }
        dist = POSTFIX_MASTER.read_text()
        dist = re.sub(r"^smtp      inet .*$", lambda _: self.listeners(), dist, flags=re.M)
        self.write(main, re.sub(r"^([a-z]+ +unix +[a-z-]+ +[a-z-]+ +)y", r"\1n", dist, flags=re.M))
        shutil.chown(self.dir / "data", "postfix")
        started = subprocess.run(
            ["postfix", "-c", self.etc, "start"], capture_output=True, text=True, timeout=PATIENCE
        )
        assert started.returncode == 0, started.stderr
        self.wait_listening()
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["postfix", "-c", self.etc, "stop"], capture_output=True, timeout=PATIENCE)
        shutil.rmtree(self.dir, ignore_errors=True)


class SocketWire:
    """The client's end of a TCP connection from an address of its own, by which the log is read."""

    def __init__(self, port: int, client: str, patience: float) -> None:
        self.client = client
        self._socket = socket.create_connection(("127.0.0.1", port), patience, source_address=(client, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # what it answered before it closed is still read
            self._socket.sendall(data)

    def lines(self, count: int) -> list[bytes]:
        found = []
        with contextlib.suppress(ConnectionError, TimeoutError):
            while len(found) < count and (line := self._file.readline()):
                found.append(line.removesuffix(b"\r\n"))
        return found

    def is_quiet(self) -> bool:
        patience = self._socket.gettimeout()
        self._socket.settimeout(0.05)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b"?"
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(patience)

    def is_closed(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def leave(self) -> None:
        self._file.close()
        self._socket.close()


def settings_of(conversations: Iterable[Conversation]) -> list[Settings]:
    return [conversation.settings for conversation in conversations]


def client_address(number: int, net: int) -> str:
    return f"127.{net}.{number // 200 + 1}.{number % 200 + 1}"
