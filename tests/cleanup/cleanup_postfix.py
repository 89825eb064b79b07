"""A private Postfix that takes mail on loopback and delivers it into one Maildir: cleanup's oracle."""

from __future__ import annotations

import os
import pathlib
import pwd
import re
import shutil
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.ports import free_port

USABLE = os.geteuid() == 0 and shutil.which("postfix") is not None


class Postfix:
    def __init__(self, main: dict[str, str]) -> None:
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fastrelay-cleanup-"))
        self.dir.chmod(0o755)
        self.port = free_port()
        owner = pwd.getpwnam("nobody")
        for name in ("etc", "spool", "data", "mail"):
            (self.dir / name).mkdir()
        shutil.chown(self.dir / "data", "postfix")
        os.chown(self.dir / "mail", owner.pw_uid, owner.pw_gid)
        base = {
            "compatibility_level": "3.6",
            "queue_directory": self.dir / "spool",
            "data_directory": self.dir / "data",
            "maillog_file": self.dir / "maillog",
            "maillog_file_prefixes": self.dir,
            "command_directory": "/usr/sbin",
            "daemon_directory": "/usr/lib/postfix/sbin",
            "meta_directory": "/etc/postfix",
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "alias_maps": "",
            "alias_database": "",
            "mydestination": "",
            "myhostname": "relay.lab.example",
            "append_at_myorigin": "no",
            "append_dot_mydomain": "no",
            "smtpd_forbid_bare_newline": "normalize",
            "smtpd_forbid_bare_newline_exclusions": "",
            "virtual_mailbox_domains": "box.example",
            "virtual_mailbox_base": self.dir / "mail",
            "virtual_mailbox_maps": "static:box/",
            "virtual_uid_maps": f"static:{owner.pw_uid}",
            "virtual_gid_maps": f"static:{owner.pw_gid}",
        }
        text = "".join(f"{name} = {value}\n" for name, value in (base | main).items())
        (self.dir / "etc/main.cf").write_text(text)
        dist = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        dist = re.sub(r"^smtp      inet .*$", f"127.0.0.1:{self.port} inet n - n - - smtpd", dist, flags=re.M)
        dist = re.sub(r"^([a-z]+ +unix +[a-z-]+ +[a-z-]+ +)y", r"\1n", dist, flags=re.M)
        (self.dir / "etc/master.cf").write_text(dist)

    def start(self) -> None:
        command = ["postfix", "-c", str(self.dir / "etc"), "start"]
        started = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert started.returncode == 0, started.stderr

    def stop(self) -> None:
        subprocess.run(["postfix", "-c", str(self.dir / "etc"), "stop"], capture_output=True, timeout=60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def send(self, contents: list[bytes]) -> list[str]:
        """Send each as it is, with CRLF.CRLF behind it, from s@x.example; the queue ids."""
        queue_ids = []
        with smtplib.SMTP("127.0.0.1", self.port, "c.example", timeout=60) as client:
            client.ehlo()
            for content in contents:
                client.mail("s@x.example")
                client.rcpt("r@box.example")
                code, _ = client.docmd("DATA")
                assert code == 354
                client.send(content + b"\r\n.\r\n")
                code, text = client.getreply()
                assert code == 250, text
                queue_ids.append(text.split()[-1].decode())
        return queue_ids

    def fetch(self, count: int, timeout: float = 60) -> dict[str, bytes]:
        """Delivered messages by queue id, from our Received header on."""
        end = time.monotonic() + timeout
        box = self.dir / "mail/box/new"
        while time.monotonic() < end and (not box.exists() or len(list(box.iterdir())) < count):
            time.sleep(0.02)
        messages = {}
        for path in box.iterdir():
            message = path.read_bytes().replace(b"\n", b"\r\n")
            message = message[message.index(b"Received: from c.example") :]
            match = re.search(rb" id (\w+)", message)
            assert match
            messages[match[1].decode()] = message
        return messages


@contextmanager
def running(main: dict[str, str]) -> Iterator[Postfix]:
    postfix = Postfix(main)
    try:
        postfix.start()
        yield postfix
    finally:
        postfix.stop()
