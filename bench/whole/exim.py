"""Debian's Exim beside the others (`--also exim4`), unpacked and not installed: its package excludes Postfix's.

    mkdir -p build/exim4 && cd build/exim4 && apt-get download exim4-daemon-light exim4-base
    for package in *.deb; do dpkg -x $package .; done

Its promise before the 250: two files a message, each synced, and their directory too (strace). It delivers at
once, a process a message, as many as come.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.whole.others import BUILD, Other

CONFIGURATION = """\
primary_hostname = relay.example
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = {spool}
log_file_path = {spool}/log-%s
deliver_drop_privilege = true
hostlist relay_from_hosts = 127.0.0.1
acl_smtp_rcpt = accept
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_connect_backlog = 500
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


class Exim(Other):
    program = BUILD / "exim4/usr/sbin/exim4"
    users = ("Debian-exim",)

    def configuration(self) -> Mapping[str, str]:
        text = CONFIGURATION.format(spool=self.spool / "exim", sink_port=self.directory.sink_port)
        return {"exim.conf": text}

    def foreground(self) -> list[str]:
        configuration = self.directory.etc / "exim.conf"
        return [str(self.program), "-C", str(configuration), "-bdf", "-oX", str(self.port)]
