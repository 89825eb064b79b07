"""Port numbers for servers that cannot be asked which one they took: each is given out once.

A port that was bound to 0 and closed again may be another's by the time its server binds it: that of a
connection that goes out, or of a test beside this one. These lie below the range from which the kernel
takes ports by itself, and a counter that all processes on the machine share gives each number out once in
some ten thousand.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST = 10_000
COUNTER = Path(tempfile.gettempdir()) / f"fastrelay-test-ports.{os.getuid()}"
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str = "127.0.0.1") -> int:
    """One that nobody listens on, on this address or on all."""
    for _ in range(1000):
        port = _next_number()
        if _is_free(host, port) and _is_free("0.0.0.0", port):
            return port
    raise AssertionError("a thousand ports in a row are taken")


def _next_number() -> int:
    beyond = int(RANGE.read_text().split()[0])
    with open(os.open(COUNTER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        number = int(file.read() or os.getpid() % (beyond - FIRST) + FIRST) + 1
        if not FIRST <= number < beyond:
            number = FIRST
        file.seek(0)
        file.write(f"{number:<10}")
        return number


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True
