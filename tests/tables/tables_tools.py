"""What the tests of tables share: Debian's postmap and ours, each run as a program on one directory."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

POSTMAP = shutil.which("postmap") or ("/usr/sbin/postmap" if Path("/usr/sbin/postmap").exists() else None)
needs_postmap = pytest.mark.skipif(
    POSTMAP is None or not Path("/usr/lib/postfix/postfix-lmdb.so").exists(),
    reason="Debian's postmap is not here: apt-get install postfix postfix-lmdb",
)

OURS = """
import sys
from pathlib import Path
from fastrelay.admin import postalias, postmap
tools = {"postmap": postmap.main, "postalias": postalias.main, "newaliases": postalias.newaliases}
sys.exit(tools[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:]))
"""
POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {0}/spool
data_directory = {0}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
smtputf8_enable = yes
myhostname = relay.example
maillog_file = {0}/maillog
maillog_file_prefixes = {0}
"""
OUR_MAIN = """
smtputf8_enable = yes
default_database_type = hash
myhostname = relay.example
alias_database = hash:{0}/aliases
"""


@dataclass
class Answer:
    status: int
    out: bytes
    err: str


def open_to_all(directory: Path) -> None:
    """Let other users reach a directory below pytest's private one."""
    for folder in (directory, *directory.parents):
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o011 == 0:
            folder.chmod(0o755)


class Tools:
    """Both programs in one working directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name, text in (("postfix", POSTFIX_MAIN), ("ours", OUR_MAIN)):
            (directory / name).mkdir()
            self.write(f"{name}/main.cf", text.format(directory))
            self.write(f"{name}/master.cf", "")

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (1_600_000_000, 1_600_000_000))  # Postfix waits 2 s for fresh ones
        return path

    def postfix(self, *args: str | bytes, program: str = "postmap", stdin: bytes = b"") -> Answer:
        assert POSTMAP is not None
        tool = str(Path(POSTMAP).with_name(program))
        return self._run([tool, "-c", str(self.directory / "postfix"), *args], stdin)

    def ours(self, *args: str | bytes, program: str = "postmap", stdin: bytes = b"") -> Answer:
        return self._run([sys.executable, "-c", OURS, program, str(self.directory / "ours"), *args], stdin)

    def _run(self, command: list[str | bytes], stdin: bytes) -> Answer:
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=self.directory, timeout=60)
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
