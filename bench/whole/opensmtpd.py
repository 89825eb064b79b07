"""Debian's OpenSMTPD beside the others (`--also opensmtpd`), unpacked: its package excludes Postfix's.

    mkdir -p build/opensmtpd && cd build/opensmtpd && apt-get download opensmtpd
    for package in *.deb; do dpkg -x $package .; done

Its promise before the 250 is smaller: files written and renamed, and nothing synced (strace, queue_fs.c).
The paces of delivery that can be configured are lifted. Compiled in are a queue of 5 clients to be accepted
(made longer here: the others are retried by their kernel after a second, 7 of them a second), and up to 10
seconds until it connects to a next hop again after it was idle, which a short run's delivered/s suffers from.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from bench.whole.others import BUILD, Other
from bench.whole.relays import RelayFailed

UNPACKED = BUILD / "opensmtpd"
BACKLOG = 500
CONFIGURATION = """\
smtp limit max-mails 1000000
mta limit conn-delay-route 0 conn-delay-relay 0 reconn-delay-route 0
mta limit max-conn-per-host 20 max-conn-per-route 20 task-hiwat 1000000
listen on 127.0.0.1 port {port} hostname relay.example
action "sink" relay host "smtp+notls://127.0.0.1:{sink_port}" helo relay.example
match from any for any action "sink"
"""


class OpenSMTPD(Other):
    program = UNPACKED / "usr/sbin/smtpd"
    users = ("opensmtpd", "opensmtpq")

    def configuration(self) -> Mapping[str, str]:
        return {"smtpd.conf": CONFIGURATION.format(port=self.port, sink_port=self.directory.sink_port)}

    def foreground(self) -> list[str]:
        return [str(self.program), "-d", "-f", str(self.directory.etc / "smtpd.conf")]

    def over(self) -> Mapping[str, Path]:
        """Its paths are compiled in: control socket, queue, and the empty directory that it locks itself into."""
        return {
            "/run": self.directory.path / "data",
            "/var/spool": self.spool,
            "/var/lib": UNPACKED / "var/lib",
        }

    def wait(self) -> None:
        super().wait()
        if not any(listen_again(pid, self.port, BACKLOG) for pid in self.meter.pids()):
            raise RelayFailed(f"none of its processes has a socket for port {self.port} that may be shared")


def listen_again(pid: int, port: int, backlog: int) -> bool:
    """listen(2) once more on another process's socket, if it has one for the port, so that more may wait there."""
    descriptors = Path(f"/proc/{pid}/fd")
    try:
        names, process = os.listdir(descriptors), os.pidfd_open(pid)
    except (FileNotFoundError, ProcessLookupError):  # a child that did its work and ended
        return False
    found = False
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
            if not os.readlink(descriptors / name).startswith("socket:"):
                continue
            with socket.socket(fileno=ctypes.CDLL(None).pidfd_getfd(process, int(name), 0)) as shared:
                listens = shared.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                if listens and shared.getsockname() == ("127.0.0.1", port):
                    shared.listen(backlog)
                    found = True
    os.close(process)
    return found
