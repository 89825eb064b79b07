"""Where log lines go: an append-only file, or the system logger.

MailLog hands a sink whole lines and gets back how many bytes (file) or lines (syslog) it took. A sink never
blocks for long and raises OSError when it cannot take anything now.
"""

from __future__ import annotations

import os
import socket
import stat

FACILITIES = {
    name: number
    for number, name in enumerate(
        ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"]
    )
} | {f"local{n}": 16 + n for n in range(8)}
INFO, WARNING, ERROR, CRITICAL = 6, 4, 3, 2
STDOUT = "/dev/stdout"


class LogError(Exception):
    """The log cannot be opened: configuration or permissions."""


class FileSink:
    """maillog_file, opened O_APPEND: several workers write to it, each whole lines at a time."""

    def __init__(self, path: str, prefixes: tuple[str, ...]) -> None:
        # A prefix is a prefix of the text, as postlogd has it: /var allows /variable too.
        if not any(path.startswith(prefix) for prefix in prefixes):
            raise LogError(
                f"maillog_file = {path}: must begin with one of maillog_file_prefixes: {', '.join(prefixes)}"
            )
        self.path = path
        self.fd = self._open()

    def _open(self) -> int:
        if self.path == STDOUT:
            return os.dup(1)
        try:
            fd = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600
            )
        except OSError as error:
            raise LogError(f"open maillog_file {self.path}: {error.strerror}") from error
        return fd

    def adopt(self, fd: int) -> None:
        """Go on with a file that somebody with the rights for it has opened."""
        os.close(self.fd)
        self.fd = fd

    def reopen(self) -> None:
        self.adopt(self._open())

    def is_rotated(self) -> bool:
        """Is the path now another file, or none?"""
        if not stat.S_ISREG(os.fstat(self.fd).st_mode) or self.path == STDOUT:
            return False
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        here = os.fstat(self.fd)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)

    def write(self, lines: bytes | memoryview) -> int:
        return os.write(self.fd, lines)

    def close(self) -> None:
        os.close(self.fd)


class SyslogSink:
    """The system logger's datagram socket; a full or missing logger costs lines, never time."""

    def __init__(self, facility: str, path: str = "/dev/log") -> None:
        if facility not in FACILITIES:
            raise LogError(f"syslog_facility = {facility}: unknown; allowed: {', '.join(FACILITIES)}")
        self.path = path
        self.priority = FACILITIES[facility] * 8
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.connected = False

    def send(self, level: int, line: bytes) -> None:
        if not self.connected:
            self.socket.connect(self.path)
            self.connected = True
        try:
            self.socket.send(b"<%d>%b" % (self.priority | level, line))
        except BlockingIOError:
            raise
        except OSError:
            self.connected = False  # the logger was restarted: connect again next time
            raise

    def close(self) -> None:
        self.socket.close()
