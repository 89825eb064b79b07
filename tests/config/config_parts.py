"""A configuration directory of a test's own, and Debian's postconf on the same directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

MASTER = Path("/usr/share/postfix/master.cf.dist")


def write_config(directory: Path, main: str | bytes, master: str | bytes | None = None) -> Path:
    """main.cf and master.cf (Postfix's own when not given) in the directory."""
    for name, text in (("main.cf", main), ("master.cf", MASTER.read_bytes() if master is None else master)):
        data = text.encode() if isinstance(text, str) else text
        (directory / name).write_bytes(data)
        # Postfix waits up to two seconds for a file that has just changed
        os.utime(directory / name, (1e9, 1e9))
    return directory


def postconf(directory: Path, *args: str) -> list[str]:
    """The output lines of Postfix's postconf."""
    done = subprocess.run(
        ["/usr/sbin/postconf", "-c", directory, *args], capture_output=True, check=True, timeout=30
    )
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()
