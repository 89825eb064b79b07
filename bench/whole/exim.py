"""Debian's Exim beside the others (`--also exim4`), unpacked and not installed: its package excludes Postfix's.

    useradd -r Debian-exim            # the program looks its user up by name
    mkdir -p build/exim4 && cd build/exim4 && apt-get download exim4-daemon-light exim4-base
    for package in *.deb; do dpkg -x $package .; done

As root, with a configuration of its own, it delivers at once, a process a message, as many as come.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
from pathlib import Path

from bench.whole.relays import Directory, Relay, RelayFailed

PROGRAM = Path(__file__).parents[2] / "build/exim4/usr/sbin/exim4"
CONFIGURATION = """\
primary_hostname = relay.example
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {spool}
log_file_path = {spool}/log-%s
pid_file_path = {spool}/exim.pid
deliver_drop_privilege = true
hostlist relay_from_hosts = 127.0.0.1
acl_smtp_rcpt = accept
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_receive_timeout = 60s
local_interfaces = 127.0.0.1
tls_advertise_hosts =
trusted_users = root
begin routers
all:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1
  self = send
begin transports
smtp:
  driver = smtp
  port = {sink_port}
  hosts_try_fastopen =
begin retry
*  *  F,1h,5m
"""


class Exim(Relay):
    def __init__(self, name: str, directory: Directory, workers: int) -> None:
        super().__init__(name, directory, workers)
        if not PROGRAM.exists():
            raise RelayFailed(f"{PROGRAM} is not there:\n{__doc__}")
        self.spool = directory.path / "exim"
        self.meter.pid_file = self.spool / "exim.pid"

    def command(self, word: str) -> list[str]:
        """`start` only; what it must find is written first."""
        user = pwd.getpwnam("Debian-exim")
        subprocess.run(["rm", "-rf", str(self.spool)], check=True)
        self.spool.mkdir()
        os.chown(self.spool, user.pw_uid, user.pw_gid)
        path = self.directory.etc / "exim.conf"
        path.write_text(CONFIGURATION.format(spool=self.spool, sink_port=self.directory.sink_port))
        return [str(PROGRAM), "-C", str(path), "-bd", "-oX", str(self.port)]

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.meter.pid_file.read_text()), signal.SIGTERM)
