"""The log's writer: one event a line whatever is in it, batches, rotation, trouble, syslog."""

from __future__ import annotations

import os
import pathlib
import re
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.log import LogError, LogSettings, MailLog
from fastrelay.log.maillog import FLUSH_SIZE, LARGEST_BUFFER
from fastrelay.log.printable import LONGEST_TEXT, printable


def settings_for(path: pathlib.Path | str, **changes: object) -> LogSettings:
    values: dict[str, object] = {
        "maillog_file": str(path),
        "maillog_file_prefixes": (str(pathlib.Path(path).parent),) if path else ("/var",),
        "myhostname": "relay.lab.example",
        "syslog_facility": "mail",
        "syslog_name": "postfix",
    }
    return LogSettings(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "maillog"


class Clock:
    def __init__(self) -> None:
        self.now = time.mktime((2026, 11, 2, 3, 4, 5, 0, 0, -1))

    def __call__(self) -> float:
        return self.now


def test_form(path: pathlib.Path) -> None:
    log = MailLog(settings_for(path), Clock())
    log.line(b"smtpd", b"connect from a[1.2.3.4]")
    log.warning(b"cleanup", b"strange")
    log.error(b"master", b"bad")
    log.line(b"postfix/submission/smtpd", b"hello")
    assert path.read_bytes() == b""
    log.fatal(b"qmgr", b"the end")
    pid = os.getpid()
    assert path.read_text().splitlines() == [
        f"Nov  2 03:04:05 relay postfix/smtpd[{pid}]: connect from a[1.2.3.4]",
        f"Nov  2 03:04:05 relay postfix/cleanup[{pid}]: warning: strange",
        f"Nov  2 03:04:05 relay postfix/master[{pid}]: error: bad",
        f"Nov  2 03:04:05 relay postfix/submission/smtpd[{pid}]: hello",
        f"Nov  2 03:04:05 relay postfix/qmgr[{pid}]: fatal: the end",
    ]
    assert path.stat().st_mode & 0o777 == 0o600
    log.close()


def test_the_stamp_moves_with_the_clock(path: pathlib.Path) -> None:
    clock = Clock()
    log = MailLog(settings_for(path), clock)
    log.line(b"smtpd", b"one")
    clock.now += 1
    log.line(b"smtpd", b"two")
    log.close()
    assert re.findall(r"\d\d:\d\d:\d\d", path.read_text()) == ["03:04:05", "03:04:06"]


@given(st.binary(max_size=200))
def test_nothing_breaks_a_line(text: bytes) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    decoded = shown.decode()
    assert all(c.isprintable() for c in decoded) and len(decoded.splitlines()) <= 1
    assert shown == text or not text.isascii() or not text.decode().isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"a\r\nb\tc\0d\x1b[2J\x7f", b"a??b?c?d?[2J?"),
        (b"\xc3\xa9 \xff", "é ?".encode()),
        (b"\xe2\x80\xa8 \xc2\x85", b"? ?"),  # Unicode line ends
        (b"x" * 10_000, b"x" * LONGEST_TEXT),
    ],
)
def test_printable(text: bytes, shown: bytes, path: pathlib.Path) -> None:
    log = MailLog(settings_for(path))
    log.line(b"smtpd", text)
    log.close()
    assert path.read_bytes().split(b"]: ", 1)[1] == shown + b"\n"


def test_the_owner_is_asked_once_and_large_buffers_are_written_at_once(path: pathlib.Path) -> None:
    log = MailLog(settings_for(path))
    asked: list[int] = []
    log.wants_flush = lambda: asked.append(1)
    for _ in range(10):
        log.line(b"smtpd", b"x" * 100)
    assert (len(asked), path.stat().st_size) == (1, 0)
    log.flush()
    log.line(b"smtpd", b"y")
    assert len(asked) == 2
    for _ in range(FLUSH_SIZE // 1000 + 1):
        log.line(b"smtpd", b"z" * 1000)
    assert path.stat().st_size >= FLUSH_SIZE
    log.close()


def test_rotation_is_followed_within_a_second(path: pathlib.Path) -> None:
    clock = Clock()
    log = MailLog(settings_for(path), clock)
    log.line(b"smtpd", b"one")
    log.flush()
    old = path.rename(path.with_suffix(".1"))
    clock.now += 1
    log.line(b"smtpd", b"two")
    log.flush()
    assert (b"one" in old.read_bytes(), b"two" in path.read_bytes()) == (True, True)
    old = path.rename(path.with_suffix(".2"))
    log.line(b"smtpd", b"three")
    log.reopen()
    log.line(b"smtpd", b"four")
    log.close()
    assert b"three" in old.read_bytes() and path.read_bytes().count(b"\n") == 1


def test_reopen_with_a_file_that_master_opened(path: pathlib.Path) -> None:
    log = MailLog(settings_for(path))
    log.line(b"smtpd", b"one")
    log.flush()
    old = path.rename(path.with_suffix(".1"))
    log.reopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    log.line(b"smtpd", b"two")
    log.close()
    assert (b"one" in old.read_bytes(), b"two" in path.read_bytes()) == (True, True)


def test_a_rotation_that_cannot_be_followed_loses_nothing(path: pathlib.Path) -> None:
    clock = Clock()
    log = MailLog(settings_for(path), clock)
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    clock.now += 1
    log.line(b"smtpd", b"still here")
    log.flush()
    assert b"still here" in old.read_bytes() and "open maillog_file" in log.trouble
    log.close()


def test_a_full_disk_keeps_lines_within_bounds_and_says_what_was_lost(path: pathlib.Path) -> None:
    log = MailLog(settings_for(path))
    asked: list[int] = []
    log.wants_flush = lambda: asked.append(1)
    log.reopen(os.open("/dev/full", os.O_WRONLY))
    log.line(b"smtpd", b"first")
    log.flush()
    assert "No space left" in log.trouble
    log.line(b"smtpd", b"second")
    assert len(asked) == 2  # the owner is asked again: its timer is gone
    for n in range(2000):
        log.line(b"smtpd", b"%d " % n + b"x" * 1000)
        assert log.waiting <= LARGEST_BUFFER
    assert log.dropped > 500
    dropped = log.dropped
    log._file.adopt(os.open(path, os.O_WRONLY | os.O_APPEND))  # type: ignore[union-attr]
    log.close()
    lines = path.read_text().splitlines()
    assert all(re.fullmatch(r"\w{3} [ \d]\d [\d:]{8} relay postfix/\w+\[\d+\]: .*", line) for line in lines)
    assert len(lines) == 2002 - dropped + 1
    assert "1999 xxx" in lines[-2] and f"{dropped} lines of the mail log were lost" in lines[-1]


def test_what_was_lost_is_said(path: pathlib.Path) -> None:
    log = MailLog(settings_for(path))
    log.dropped = 7
    log.flush()
    log.close()
    assert "postfix/postlogd" in path.read_text()
    assert "warning: 7 lines of the mail log were lost" in path.read_text()


@pytest.mark.parametrize("prefix", ["/var", "/nowhere"])
def test_prefixes(prefix: str, path: pathlib.Path) -> None:
    with pytest.raises(LogError, match=f"maillog_file = {path}: .*maillog_file_prefixes: {prefix}"):
        MailLog(settings_for(path, maillog_file_prefixes=(prefix,)))


def test_a_file_that_cannot_be_opened(path: pathlib.Path) -> None:
    path.mkdir()
    with pytest.raises(LogError, match="open maillog_file"):
        MailLog(settings_for(path))


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = MailLog(settings_for("/dev/stdout", maillog_file_prefixes=("/dev/stdout",)))
    log.line(b"smtpd", b"seen")
    log.close()
    assert capfd.readouterr().out.endswith("seen\n")


def test_syslog(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        log = MailLog(settings_for(""), Clock(), str(tmp_path / "log"))
        log.line(b"smtpd", b"hello")
        log.warning(b"smtpd", b"careful")
        log.flush()
        assert server.recv(999) == b"<22>Nov  2 03:04:05 postfix/smtpd[%d]: hello" % os.getpid()
        assert server.recv(999).startswith(b"<20>")
        log.close()


def test_a_slow_or_missing_logger_costs_no_time(tmp_path: pathlib.Path) -> None:
    """Nobody reads: whoever waited for it would wait for ever."""
    log = MailLog(settings_for(""), Clock(), str(tmp_path / "log"))
    log.line(b"smtpd", b"early")
    log.flush()
    assert log.trouble
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        for n in range(20_000):
            log.line(b"smtpd", b"%d" % n)
        log.flush()
        assert server.recv(999).endswith(b"early")
        assert log.dropped > 10_000
    log.close()


def test_unknown_facility() -> None:
    with pytest.raises(LogError, match="syslog_facility = post"):
        MailLog(settings_for("", syslog_facility="post"))
