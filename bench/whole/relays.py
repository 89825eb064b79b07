"""One private configuration directory, and the two relays that are run from it, one after the other.

main.cf and master.cf are the same bytes for both: what only one of them knows, the other passes over. Each
start finds an empty queue and an empty log. At the end every process of the relay is gone, by its id.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.whole.cases import DOMAIN, Case
from bench.whole.measure import Meter

MASTER_DIST = Path("/usr/share/postfix/master.cf.dist")
PATIENCE = 30.0
PORTS = range(20000, 30000)
POSTFIX = "Postfix"
MAIN = {
    "compatibility_level": "3.6",
    "queue_directory": "$config_directory/../spool",
    "data_directory": "$config_directory/../data",
    "maillog_file": "$config_directory/../maillog",
    "myhostname": "relay.example",
    "mydestination": "",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "smtp_host_lookup": "native",
    "smtpd_tls_security_level": "none",
    "smtpd_forbid_bare_newline": "normalize",
    "smtpd_forbid_unauth_pipelining": "yes",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "command_directory": "/usr/sbin",
    "daemon_directory": "/usr/lib/postfix/sbin",
    "meta_directory": "/etc/postfix",
}


class RelayFailed(Exception):
    """It did not start, or lost something; the text says what it said."""


def free_port() -> int:
    """Below the ports that the kernel gives away: it stays free while the relay is not running.

    (One that another fastrelay binds meanwhile would be shared with it: SO_REUSEPORT.)
    """
    for port in random.sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RelayFailed(f"no free port from {PORTS.start} to {PORTS.stop}")


class Directory:
    """etc, spool, data and the log of one benchmark; gone at the end."""

    def __init__(self, case: Case, sink_port: int, slow_port: int = 0, messages: int = 0) -> None:
        """`messages`: how many domains a case of many destinations needs at most."""
        self.case, self.sink_port, self.slow_port, self.port = case, sink_port, slow_port, free_port()
        self.messages = messages

    def __enter__(self) -> Directory:
        self.path = Path(tempfile.mkdtemp(prefix="fastrelay-bench-"))
        self.path.chmod(0o755)
        self.etc, self.log_path = self.path / "etc", self.path / "maillog"
        self.etc.mkdir()
        text = re.sub(
            r"^smtp      inet .*$",
            f"127.0.0.1:{self.port} inet n - n - - smtpd",
            MASTER_DIST.read_text(),
            flags=re.M,
        )
        text = re.sub(
            r"^([a-z]+ +unix +[a-z-]+ +[a-z-]+ +)y", r"\1n", text, flags=re.M
        )  # nothing in a chroot
        (self.etc / "master.cf").write_text(text)
        self.main = {**MAIN, "maillog_file_prefixes": str(self.path), **self.routing()}
        if self.case.entries:
            self.write_tables()
        elif self.case.destinations:
            self.write_table("transport", self.next_hops())
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def routing(self) -> Mapping[str, str]:
        next_hop = f"[127.0.0.1]:{self.sink_port}"
        if self.case.destinations:
            return {"transport_maps": "lmdb:$config_directory/transport"}
        if not self.case.entries:
            return {"relayhost": next_hop}
        tables = {"relay_domains": "domains", "relay_recipient_maps": "users", "transport_maps": "transport"}
        return {name: f"lmdb:$config_directory/{table}" for name, table in tables.items()}

    def write_tables(self) -> None:
        """The tutorial's three: users, relay_domains, transport; all mail is for what they hold."""
        numbers = range(self.case.entries)
        users = (f"{n}user@{DOMAIN} OK\n" for n in numbers)
        domains = (f"{name} OK\n" for name in self.domains())
        transport = (f"{name} smtp:[127.0.0.1]:{self.sink_port}\n" for name in self.domains())
        for name, lines in (("users", users), ("domains", domains), ("transport", transport)):
            self.write_table(name, lines)

    def write_table(self, name: str, lines: Iterable[str]) -> None:
        (self.etc / "main.cf").write_text("lmdb_map_size = 1073741824\n")
        with open(self.etc / name, "w") as file:
            file.writelines(lines)
        command = ["postmap", "-c", str(self.etc), f"lmdb:{self.etc / name}"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        self.main["lmdb_map_size"] = "1073741824"

    def next_hops(self) -> Iterator[str]:
        """Each message has a domain of its own, and they share the destinations in turn."""
        for number in range(1, self.messages + 1):
            destination = number % self.case.destinations
            port = self.slow_port if destination % 100 < self.case.slow else self.sink_port
            address = f"127.1.{destination // 250}.{destination % 250 + 1}"
            yield f"d{number}.{DOMAIN} smtp:[{address}]:{port}\n"

    def domains(self) -> list[str]:
        return [DOMAIN, *(f"d{n}.example" for n in range(self.case.entries - 1))]

    def empty(self, workers: int) -> None:
        """As before the first start."""
        for name in ("spool", "data"):
            shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / name).mkdir()
        shutil.chown(self.path / "data", MAIN["mail_owner"])
        self.log_path.unlink(missing_ok=True)
        main = {**self.main, "fastrelay_workers": str(workers)}
        (self.etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))

    def log_end(self) -> str:
        return self.log_path.read_text(errors="replace")[-2000:] if self.log_path.exists() else "(no log)"


class Relay:
    """`with Relay(...) as relay`: started, answering, its processes in relay.meter."""

    def __init__(self, name: str, directory: Directory, workers: int) -> None:
        self.name, self.directory, self.workers, self.port = name, directory, workers, directory.port
        self.meter = Meter(directory.path / "spool/pid/master.pid")

    def command(self, word: str) -> list[str]:
        if self.name == POSTFIX:
            return ["postfix", "-c", str(self.directory.etc), word]
        return [sys.executable, "-m", "fastrelay", "-c", str(self.directory.etc), word]

    def __enter__(self) -> Relay:
        self.directory.empty(self.workers)
        self.prepare()
        self.meter.open()
        try:
            command = self.meter.inside(self.command("start"))
            with open(self.directory.path / "start", "w+") as said:
                status = subprocess.run(command, stdout=said, stderr=said, timeout=PATIENCE).returncode
            if status != 0:
                raise RelayFailed(
                    (self.directory.path / "start").read_text()[-2000:] + self.directory.log_end()
                )
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):  # then its processes are killed below
            self.stop()
        end = time.monotonic() + PATIENCE / 3
        while (left := self.meter.pids()) and time.monotonic() < end:
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.meter.close()

    def prepare(self) -> None:
        """What is to be there before the start."""

    def stop(self) -> None:
        subprocess.run(self.command("stop"), capture_output=True, timeout=PATIENCE)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as probe:
            probe.settimeout(5)
            return probe.recv(3) == b"220"
        return False

    def wait(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self.answers():
            if time.monotonic() > end or not self.meter.pids():
                raise RelayFailed(f"{self.name} does not answer: {self.directory.log_end()}")
            time.sleep(0.02)
