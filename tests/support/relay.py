"""Whole mail systems for tests: a fastrelay or Debian's Postfix, each on a private configuration directory.

    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop}) as relay:
        relay.send(...); relay.wait_log("status=sent"); sink.wait(1); relay.tool("mailq")

Both listen on a free loopback port and keep all they write in a directory of their own below the system's
temporary directory, where an unprivileged worker can reach it. Every wait ends: with what was awaited, or
with an assertion that shows the log.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fastrelay.master.control import Client
from support.ports import free_port

T = TypeVar("T")
PATIENCE = 60.0  # seconds for anything that must happen; what does is not waited for
MASTER_DIST = Path("/usr/share/postfix/master.cf.dist")
MASTER = """\
smtp      unix  -  -  n  -  -  smtp
relay     unix  -  -  n  -  -  smtp
error     unix  -  -  n  -  -  error
retry     unix  -  -  n  -  -  error
discard   unix  -  -  n  -  -  discard
local     unix  -  n  n  -  -  local
virtual   unix  -  n  n  -  -  virtual
"""
COMMON = {
    "compatibility_level": "3.6",
    "queue_directory": "$config_directory/../spool",
    "data_directory": "$config_directory/../data",
    "maillog_file": "$config_directory/../maillog",
    "myhostname": "relay.test",
    "mydestination": "",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "minimal_backoff_time": "300s",
}


def until(look: Callable[[], T], what: Callable[[], object] = str, timeout: float = PATIENCE) -> T:
    """What `look` returns as soon as that is true; `what` tells why it should have been."""
    end = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < end, f"{what()} (waited {timeout} s, last: {found!r})"
        time.sleep(0.02)
    return found


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Does somebody take connections there?"""
    with contextlib.suppress(OSError), socket.create_connection((host, port), PATIENCE):
        return True
    return False


class MailSystem:
    """What both have in common: the directory, the log, talking to the listener."""

    def __init__(
        self,
        main: Mapping[str, object] | None = None,
        files: Mapping[str, str] | None = None,
        master: Sequence[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`files` are written beside main.cf; `master` are lines after the usual services."""
        self.host, self.port = host, port or free_port(host)
        self.directory = Path(tempfile.mkdtemp(prefix="fastrelay-test-"))
        self.directory.chmod(0o755)
        self.etc, self.log_path = self.directory / "etc", self.directory / "maillog"
        self.spool = self.directory / "spool"
        for name in ("etc", "spool", "data"):
            (self.directory / name).mkdir()
        self.main: dict[str, object] = {**COMMON, **self.defaults(), **(main or {})}
        self.main["maillog_file_prefixes"] = self.directory
        self.write_main()
        listener = f"{self.host}:{self.port} inet n - n - - smtpd\n"
        (self.etc / "master.cf").write_text(listener + self.services() + "".join(x + "\n" for x in master))
        for name, text in (files or {}).items():
            self.write(name, text)

    def defaults(self) -> dict[str, object]:
        raise NotImplementedError

    def services(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        raise NotImplementedError

    def reload(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def tool(self, name: str, *args: object, input: str | bytes | None = None) -> str:
        """The standard output of one of the tools; its failure fails the test."""
        done = self.run_tool(name, *args, input=input)
        assert done.returncode == 0, f"{name} {args}: status {done.returncode}: {done.stderr.decode()}"
        return done.stdout.decode()

    def run_tool(
        self, name: str, *args: object, input: str | bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        data = input.encode() if isinstance(input, str) else input
        return subprocess.run(self.command(name, *args), input=data, capture_output=True, timeout=PATIENCE)

    def command(self, name: str, *args: object) -> list[str]:
        raise NotImplementedError

    # The configuration

    def write(self, name: str, text: str) -> Path:
        path = self.etc / name
        path.write_text(text)
        return path

    def write_main(self, **changes: object) -> None:
        """main.cf anew, with changes that stay; None takes a parameter out."""
        self.main.update(changes)
        lines = [f"{name} = {value}\n" for name, value in self.main.items() if value is not None]
        (self.etc / "main.cf").write_text("".join(lines))

    # Life

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()
        if not os.environ.get("FASTRELAY_KEEP_TESTS"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((self.host, self.port), PATIENCE) as probe,
        ):
            return probe.recv(3) == b"220"
        return False

    # Looking and talking

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """The first match of a regular expression (MULTILINE) in the mail log."""
        return until(
            lambda: re.search(pattern, self.log(), re.M),
            lambda: f"/{pattern}/ is not in the log:\n{self.log()}",
            timeout,
        )

    def smtp(self, name: str = "client.test") -> smtplib.SMTP:
        return smtplib.SMTP(self.host, self.port, local_hostname=name, timeout=PATIENCE)

    def send(
        self,
        sender: str = "a@client.test",
        recipients: str | Sequence[str] = "b@there.test",
        content: bytes = b"Subject: hello\r\n\r\nbody\r\n",
    ) -> str:
        """One message; the queue id that its 250 names."""
        with self.smtp() as client:
            client.ehlo_or_helo_if_needed()
            assert client.mail(sender)[0] == 250
            for recipient in [recipients] if isinstance(recipients, str) else recipients:
                code, text = client.rcpt(recipient)
                assert code == 250, (code, text)
            code, text = client.data(content)
            assert code == 250, (code, text)
        return text.decode().rpartition(" ")[2]


class Fastrelay(MailSystem):
    """This project's relay, in the foreground below the test."""

    process: subprocess.Popen[bytes] | None = None

    def defaults(self) -> dict[str, object]:
        return {
            "mail_owner": "nobody",
            "fastrelay_workers": 1,
            "fastrelay_queue_shards": 2,
            "fastrelay_segment_size": 1048576,
            "fastrelay_mx_forbidden_networks": "",
            "fastrelay_dns_timeout": "2s",
            "fastrelay_disk_check": "warn",  # wherever the temporary directory is
        }

    def services(self) -> str:
        return MASTER

    def command(self, name: str, *args: object) -> list[str]:
        return [sys.executable, "-m", "fastrelay", "-c", str(self.etc), name, *map(str, args)]

    def start(self) -> None:
        with open(self.directory / "stderr", "ab") as errors:
            self.process = subprocess.Popen(
                self.command("start-fg"), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
            )
        until(lambda: self._answers() or self.process.poll() is not None, self.troubles)
        assert self.process.poll() is None, self.troubles()

    def troubles(self) -> str:
        return f"fastrelay says:\n{(self.directory / 'stderr').read_text()}\nits log:\n{self.log()}"

    def stop(self) -> None:
        """A clean stop, which must succeed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        assert status == 0, f"status {status}: {self.troubles()}"

    def end(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)

    def reload(self) -> None:
        """Returns when every worker follows the configuration as it is now."""
        before = self._reloads()
        self.tool("reload")
        until(lambda: not before & self._reloads(), self.troubles)

    def _reloads(self) -> set[tuple[int, int]]:
        """(process id, how often it has taken a configuration) of each worker."""
        return {(worker["pid"], worker["reloads"]) for worker in Client(self.spool).call("status")}

    def companion_pids(self) -> list[int]:
        """Master's children that have rights as low as a worker's and are none: proxymap, proxywrite."""
        assert self.process is not None
        pid, workers = self.process.pid, self.worker_pids()
        owner = os.stat(f"/proc/{workers[0]}").st_uid
        children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return [each for each in children if each not in workers and _owner(each) == owner]

    def worker_pids(self) -> list[int]:
        """Master's children that have a shard of the queue open."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        shards = f"{self.spool.resolve()}/fastrelay/"
        return [pid for pid in map(int, path.read_text().split()) if _has_open(pid, shards)]


def alive(pid: int) -> bool:
    """Does it still hold what it had? A process that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return -1


def _has_open(pid: int, directory: str) -> bool:
    """Something in or below it."""
    try:
        fds = os.listdir(f"/proc/{pid}/fd")
    except FileNotFoundError:
        return False
    return any(_target(f"/proc/{pid}/fd/{fd}").startswith(directory) for fd in fds)


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


class Postfix(MailSystem):
    """Debian's Postfix; needs root, as `postfix start` does."""

    def defaults(self) -> dict[str, object]:
        return {
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "smtpd_forbid_bare_newline": "normalize",
            "smtpd_forbid_unauth_pipelining": "yes",
            "smtp_host_lookup": "native",
            "smtpd_tls_security_level": "none",
        }

    def services(self) -> str:
        text = re.sub(r"^smtp      inet .*$", "", MASTER_DIST.read_text(), flags=re.M)
        return re.sub(r"^([a-z]+ +unix +[a-z-]+ +[a-z-]+ +)y", r"\1n", text, flags=re.M)

    def command(self, name: str, *args: object) -> list[str]:
        return [name, "-c", str(self.etc), *map(str, args)]

    def start(self) -> None:
        shutil.chown(self.directory / "data", "postfix")
        self.tool("postfix", "start")
        until(self._answers, self.log)

    def reload(self) -> None:
        self.tool("postfix", "reload")

    def end(self) -> None:
        self.run_tool("postfix", "stop")
