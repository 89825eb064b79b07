"""The mail log's writer: lines are appended to a buffer, the owner flushes it a few times a second.

Everybody above `wire` may be handed `line` and `warning`. The owner sets `wants_flush`, which is called when
the first line waits, and calls flush() within 20 to 50 ms; above FLUSH_SIZE the buffer is written at once.
Invariants: a line in the log is one event (see printable); the buffer is bounded; what had to be dropped is
counted in `dropped` and said in the log as soon as it can be written again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fastrelay.log import sinks
from fastrelay.log._line import LineBuffer
from fastrelay.log.settings import LogSettings
from fastrelay.log.sinks import FileSink, LogError, SyslogSink

__all__ = ["LogError", "MailLog"]

FLUSH_SIZE = 65536
LARGEST_BUFFER = 1048576
SYSLOG_LINES = 4096
MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def no_timer() -> None:
    """The owner has not asked for `wants_flush`: it flushes on its own."""


class MailLog(LineBuffer):
    def __init__(
        self, settings: LogSettings, clock: Callable[[], float] = time.time, syslog_path: str = "/dev/log"
    ) -> None:
        to_file = bool(settings.maillog_file)
        self.prepare(None if clock is time.time else clock, to_file, FLUSH_SIZE, no_timer)
        self.dropped = 0
        self.trouble = ""  # why the last flush could not write
        self._clock = clock
        self._name = settings.syslog_name.encode()
        self._host = settings.myhostname.split(".")[0].encode()
        self._checked = -1  # second of the last look for a rotated file
        self._stamp = b""
        self._datagrams: list[tuple[int, bytes]] = []
        self._file: FileSink | None = None
        self._syslog: SyslogSink | None = None
        if settings.maillog_file:
            self._file = FileSink(settings.maillog_file, settings.maillog_file_prefixes)
        else:
            self._syslog = SyslogSink(settings.syslog_facility, syslog_path)

    def warning(self, service: bytes, text: bytes) -> None:
        self.line(service, b"warning: " + text, sinks.WARNING)

    def error(self, service: bytes, text: bytes) -> None:
        self.line(service, b"error: " + text, sinks.ERROR)

    def fatal(self, service: bytes, text: bytes) -> None:
        """The line is written before this returns: the process is about to end."""
        self.line(service, b"fatal: " + text, sinks.CRITICAL)
        self.flush()

    def flush(self) -> None:
        """Write what waits. Trouble keeps the lines, within bounds, for the next try."""
        self.flushing()
        self.trouble = ""
        try:
            if self._file is None:
                self._flush_datagrams()
            elif self.waiting:
                self._flush_file(self._file)
        except OSError as error:
            sink = self._file or self._syslog
            self.trouble = f"{sink.path if sink else ''}: {error.strerror or error}"
            self._shed()
            return
        if self.dropped and not self.waiting and not self._datagrams:
            dropped, self.dropped = self.dropped, 0
            self.warning(b"postlogd", b"%d lines of the mail log were lost" % dropped)
            self.flush()

    def reopen(self, fd: int | None = None) -> None:
        """After rotation: go on with `fd`, or open the path again."""
        self.flush()
        if self._file is not None:
            self._file.reopen() if fd is None else self._file.adopt(fd)

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
        if self._syslog is not None:
            self._syslog.close()

    def _turn(self, second: int) -> None:
        t = time.localtime(second)
        self._stamp = b"%b %2d %02d:%02d:%02d" % (
            MONTHS[t.tm_mon - 1],
            t.tm_mday,
            t.tm_hour,
            t.tm_min,
            t.tm_sec,
        )

    def _make_prefix(self, service: bytes) -> bytes:
        name = service if b"/" in service else b"%b/%b" % (self._name, service)
        host = b" " + self._host if self._file is not None else b""  # the system logger adds the host
        return b"%b%b %b[%d]: " % (self._stamp, host, name, os.getpid())

    def _flush_file(self, file: FileSink) -> None:
        second = int(self._clock())
        if second != self._checked:
            self._checked = second
            if file.is_rotated():
                self._follow_rotation(file)
        pending = self.take()
        written = 0
        try:
            while written < len(pending):
                written += file.write(memoryview(pending)[written:] if written else pending)
        finally:
            self.put_back(pending[written:])

    def _follow_rotation(self, file: FileSink) -> None:
        try:
            file.reopen()
        except (
            LogError
        ) as error:  # no rights for the new file: the old one takes the lines until `reopen(fd)`
            self.trouble = str(error)

    def _queue_datagram(self, level: int, line: bytes) -> None:
        self._datagrams.append((level, line))
        if len(self._datagrams) >= SYSLOG_LINES:
            self.flush()

    def _flush_datagrams(self) -> None:
        assert self._syslog is not None
        sent = 0
        try:
            for level, line in self._datagrams:
                self._syslog.send(level, line)
                sent += 1
        finally:
            del self._datagrams[:sent]

    def _shed(self) -> None:
        """Make room: the oldest lines go, the newest tell what is wrong."""
        if len(self._datagrams) >= SYSLOG_LINES:
            self.dropped += len(self._datagrams) // 2
            del self._datagrams[: len(self._datagrams) // 2]
        if self.waiting > LARGEST_BUFFER:
            pending = self.take()
            cut = pending.index(b"\n", len(pending) - LARGEST_BUFFER // 2) + 1
            self.dropped += pending.count(b"\n", 0, cut)
            self.put_back(pending[cut:])
