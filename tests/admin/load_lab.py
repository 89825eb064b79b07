"""Sinks, sources and a relay as processes of their own, for the tests of `fastrelay sink` and `source`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from support.ports import free_port
from support.relay import PATIENCE, until

FASTRELAY = [sys.executable, "-m", "fastrelay"]


class SinkProcess:
    """`with SinkProcess("--drop", "data") as sink:`; counts() ends it."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*FASTRELAY, "sink", "--listen", "127.0.0.1:0", "--json", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.address = json.loads(line)["listening"]
        self.port = int(self.address.rpartition(":")[2])

    def connect(self) -> Talk:
        return Talk(self.port)

    def counts(self, number: int = signal.SIGTERM) -> dict[str, int]:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> dict[str, int]:
        out, err = self.process.communicate(timeout=PATIENCE)
        assert (self.process.returncode, err) == (0, "")
        return json.loads(out)

    def __enter__(self) -> SinkProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Talk:
    """A dialogue by hand."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        return self.file.readline()

    def codes(self, count: int) -> list[int]:
        """Of so many replies; -1 for the end of the connection."""
        found: list[int] = []
        while len(found) < count:
            try:
                line = self.line()
            except ConnectionResetError:
                line = b""
            if not line:
                return [*found, -1]
            if line[3:4] != b"-":
                found.append(int(line[:3]))
        return found

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def source(*options: object) -> tuple[int, dict]:
    """Exit status and report."""
    done = run("source", "--json", *options)
    assert done.stderr == "", done.stderr
    return done.returncode, json.loads(done.stdout)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*FASTRELAY, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE)
    assert "Traceback" not in done.stderr
    return done


class Relay:
    """A real fastrelay that relays all mail to one port."""

    def __init__(self, directory: Path, next_hop: int) -> None:
        for above in (directory, *directory.parents):  # the workers' user must find its way
            if above == directory or above.name.startswith("pytest-"):
                above.chmod(0o755)
        self.port = free_port()
        (directory / "main.cf").write_text(
            "compatibility_level = 3.6\nmyhostname = relay.example.com\ninet_protocols = ipv4\n"
            f"queue_directory = {directory}/spool\ndata_directory = {directory}/data\n"
            f"maillog_file = {directory}/maillog\nmaillog_file_prefixes = {directory}\nmail_owner = nobody\n"
            "fastrelay_workers = 1\nmynetworks = 127.0.0.0/8\nmydestination =\nlocal_recipient_maps =\n"
            f"alias_maps =\nalias_database =\nrelayhost = [127.0.0.1]:{next_hop}\n"
        )
        (directory / "master.cf").write_text(
            f"127.0.0.1:{self.port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"
            "error unix - - n - - error\nretry unix - - n - - retry\n"
        )
        self.directory = directory
        self.process = subprocess.Popen([*FASTRELAY, "-c", str(directory), "start-fg"])
        until(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None
        try:
            Talk(self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
