"""Somebody else's relay, which lies below build/ and is not installed (`--also NAME`).

It runs in a mount namespace of its own and in the foreground: there /etc/passwd has its users, no name server
is known, and directories of the benchmark lie over those that it would write to. The machine sees none of it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.whole.relays import Directory, Relay, RelayFailed

BUILD = Path(__file__).parents[2] / "build"
FIRST_UID = 64900
NO_SERVER = "nameserver 127.0.0.1\nlookup file\n"  # the second line is OpenSMTPD's own resolver's
BEHIND = 'unshare --mount sh -e "$1" >"$2" 2>&1 & echo $! >"$3"'


class Other(Relay):
    program: Path
    users: tuple[str, ...] = ()  # that it looks up by name

    def __init__(self, name: str, directory: Directory, workers: int) -> None:
        super().__init__(name, directory, workers)
        if not self.program.exists():
            raise RelayFailed(f"{self.program} is not there:\n{sys.modules[type(self).__module__].__doc__}")
        self.spool = directory.path / "spool"

    def configuration(self) -> Mapping[str, str]:
        """Files of its own in the configuration directory: their names, and what is in them."""
        raise NotImplementedError

    def foreground(self) -> list[str]:
        """The command line that runs it until it is told to stop; it logs to standard output or error."""
        raise NotImplementedError

    def over(self) -> Mapping[str, Path]:
        """Which of the machine's directories it sees another in place of."""
        return {}

    def prepare(self) -> None:
        self.meter.pid_file.parent.mkdir()
        if self.users:
            os.chown(self.spool, FIRST_UID, FIRST_UID)
        for name, text in {**self.configuration(), **self.accounts(), "resolv.conf": NO_SERVER}.items():
            path = self.directory.etc / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        files = {f"/etc/{name}": self.directory.etc / name for name in (*self.accounts(), "resolv.conf")}
        mounts = [["mount", "--bind", str(ours), place] for place, ours in {**files, **self.over()}.items()]
        lines = [shlex.join(mount) for mount in mounts] + ["exec " + shlex.join(self.foreground())]
        (self.directory.etc / "start").write_text("\n".join(lines) + "\n")

    def accounts(self) -> Mapping[str, str]:
        """passwd and group: its users before the machine's."""
        numbered = [(name, FIRST_UID + n) for n, name in enumerate(self.users)]
        passwd = "".join(f"{name}:x:{uid}:{uid}::/nonexistent:/usr/sbin/nologin\n" for name, uid in numbered)
        group = "".join(f"{name}:x:{gid}:\n" for name, gid in numbered)
        return {
            "passwd": passwd + Path("/etc/passwd").read_text(),
            "group": group + Path("/etc/group").read_text(),
        }

    def command(self, word: str) -> list[str]:
        """`start` only."""
        paths = (self.directory.etc / "start", self.directory.log_path, self.meter.pid_file)
        return ["sh", "-c", BEHIND, "sh", *map(str, paths)]

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.meter.pid_file.read_text()), signal.SIGTERM)
