"""What the tests of tables share: Debian's postmap and ours, each run as a program on one directory."""

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import pytest

from fastrelay.admin import newaliases, postalias, postmap

POSTMAP = shutil.which("postmap") or ("/usr/sbin/postmap" if Path("/usr/sbin/postmap").exists() else None)
needs_postmap = pytest.mark.skipif(
    POSTMAP is None or not Path("/usr/lib/postfix/postfix-lmdb.so").exists(),
    reason="Debian's postmap is not here: apt-get install postfix postfix-lmdb",
)

PROGRAMS = {"postmap": postmap.main, "postalias": postalias.main, "newaliases": newaliases.main}
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
alias_database = lmdb:{0}/aliases
default_database_type = lmdb
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
        for name in ("spool", "data"):
            (directory / name).mkdir()

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.directory / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (1_600_000_000, 1_600_000_000))  # Postfix waits 2 s for fresh ones
        return path

    def postfix(self, *args: str | bytes, program: str = "postmap", stdin: bytes = b"") -> Answer:
        assert POSTMAP is not None
        where = "-C" if program == "newaliases" else "-c"
        tool = {"newaliases": "/usr/bin/newaliases"}.get(program, str(Path(POSTMAP).with_name(program)))
        return self._run([tool, where, str(self.directory / "postfix"), *args], stdin)

    def postfix_each(self, cases: Iterable[Sequence[str]], program: str = "postmap") -> list[Answer]:
        """Many runs at once: Debian's tools sleep a second before they end with an error."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda args: self.postfix(*args, program=program), cases))

    def ours(self, *args: str | bytes, program: str = "postmap", stdin: bytes = b"") -> Answer:
        """In a child that is a copy of this process: starting Python anew takes half a second."""
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            given.write(stdin)
            given.seek(0)
            child = os.fork()
            if child == 0:
                self._be_program(program, [os.fsdecode(arg) for arg in args], (given, out, err))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            out.seek(0)
            err.seek(0)
            return Answer(status, out.read(), err.read().decode(errors="replace"))

    def _be_program(self, program: str, args: list[str], files: Iterable[IO[bytes]]) -> NoReturn:
        status = 255
        try:
            for number, file in enumerate(files):
                os.dup2(file.fileno(), number)
            sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
            os.chdir(self.directory)
            status = PROGRAMS[program](self.directory / "ours", args)
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _run(self, command: list[str | bytes], stdin: bytes) -> Answer:
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=self.directory, timeout=60)
        return Answer(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
