"""fastrelay postconf beside Debian's postconf on the same files."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path

import pytest

from fastrelay.admin.postconf import main

MAIN = """# tail kept
compatibility_level = 3.6
mynets = 10.0.0.0/8,
    192.168.0.0/16
mynetworks = $mynets 127.0.0.0/8
smtpd_banner = $myhostname $$ ESMTP   x
smtpd_milters =
relayhost =
lmtp_destination_concurrency_limit = 4
unused = 1
"""
MASTER = """smtp inet n - y - - smtpd -v -o smtpd_banner=x -o { smtpd_x = a b } plain {foo bar} -oa=b
   -o foo=
127.0.0.1:smtp inet n - y - - smtpd -o syslog_name=postfix/$service_name
smtp inet n - y 5? - smtpd
[::1]:2525 inet n - - 0 - smtpd -vo a=b {-o} { x y }
scalemail-backend unix - n n - 2 pipe flags=R user=scalemail argv=/x ${nexthop} ${user}
smtp unix - - y - - smtp
lmtp unix - - y - - lmtp
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "main.cf").write_text(MAIN)
    (tmp_path / "master.cf").write_text(MASTER)
    return tmp_path


def ours(directory, *args):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(Path(directory), list(args))
    out.flush()
    err.flush()
    return subprocess.CompletedProcess(args, status, out.buffer.getvalue(), err.buffer.getvalue())


def theirs(directory, *args):
    os.utime(directory / "main.cf", (1e9, 1e9))  # Postfix waits for a file that has just changed
    return subprocess.run(["/usr/sbin/postconf", "-c", directory, *args], capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "args",
    [
        ["-n"],
        ["-nx"],
        ["-nh"],
        ["-nH"],
        ["-x", "mynetworks", "smtpd_banner", "relayhost", "mydestination", "relay_domains"],
        ["-h", "relayhost", "smtpd_banner", "mynets"],
        ["myorigin", "lmtp_destination_concurrency_limit", "smtp_destination_concurrency_limit"],
        ["-d", "mynetworks", "myhostname", "relay_domains", "smtpd_timeout", "always_add_missing_headers"],
        ["-d", "-x", "mydestination", "append_dot_mydomain", "lmtp_destination_recipient_limit"],
        ["nosuch", "relayhost"],
        ["-M"],
        ["-M", "smtp"],
        ["-M", "smtp/unix", "*/inet"],
        ["-M", "nosuch/inet"],
        ["-Mx"],
    ],
    ids=" ".join,
)
def test_output_is_postfixs(directory, args):
    expected, found = theirs(directory, *args), ours(directory, *args)
    assert found.stdout == expected.stdout
    assert found.returncode == expected.returncode == 0


def test_all_defaults_are_shown_sorted(directory):
    expected = dict(line.split(" =", 1) for line in theirs(directory, "-d").stdout.decode().splitlines())
    found = [line.split(" =", 1) for line in ours(directory, "-d").stdout.decode().splitlines()]
    assert found == sorted(found)
    different = [
        name for name, value in found if expected.get(name) != value and not name.startswith("fastrelay_")
    ]
    assert different == [
        "config_directory",
        "mail_name",
        "mail_version",
        "process_id",
        "process_name",
        "smtpd_forbid_bare_newline",
        "smtpd_forbid_unauth_pipelining",
    ]


def test_warnings_go_to_stderr(directory):
    text = ours(directory, "-n").stderr.decode()
    assert "unknown parameter: unused" in text
    assert "smtpd_milters: Postfix has this parameter" in text
    assert "nosuch: unknown parameter" in ours(directory, "nosuch").stderr.decode()
    assert 'unmatched request: "nosuch/inet"' in ours(directory, "-M", "nosuch/inet").stderr.decode()


EDITED = """# c1
relay_domains = a
   b
# in
   c
# c2
relayhost = one
myorigin=x
\t
relayhost = two
# tail
"""


@pytest.mark.parametrize(
    "edits",
    [
        ["relayhost=three  four"],
        ["new_one = 5", "relay_domains=z"],
        ["soft_bounce="],
        ["relay_domains = x = y"],
    ],
)
@pytest.mark.parametrize("flag", [["-e"], []])
def test_edit_is_postfixs(tmp_path, edits, flag):
    texts = []
    for tool in (theirs, ours):
        (tmp_path / "main.cf").write_text(EDITED)
        (tmp_path / "main.cf").chmod(0o640)
        (tmp_path / "master.cf").write_text(MASTER)
        assert tool(tmp_path, *flag, *edits).returncode == 0
        texts.append((tmp_path / "main.cf").read_bytes())
    assert texts[1] == texts[0]
    assert (tmp_path / "main.cf").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["main.cf", "master.cf"]


def test_edit_mends_a_malformed_value_and_keeps_bytes(directory):
    (directory / "main.cf").write_bytes(b"# caf\xe9\nsmtpd_timeout = soon\n")
    assert ours(directory, "-e", "smtpd_timeout=5s").returncode == 0
    assert (directory / "main.cf").read_bytes() == b"# caf\xe9\nsmtpd_timeout = 5s\n"


def test_edit_writes_through_a_link(directory):
    real = directory / "elsewhere"
    (directory / "main.cf").rename(real)
    (directory / "main.cf").symlink_to(real)
    assert ours(directory, "-e", "relayhost=x").returncode == 0
    assert (directory / "main.cf").is_symlink()
    assert "relayhost = x\n" in real.read_text()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-e", "bad name=4"], "missing '='"),
        (["-e", "x"], "missing '='"),
        (["-e", "=4"], "missing parameter name"),
        (["-e", "x=a\nb"], "more than one line"),
        (["-Z"], "usage:"),
        (["-n", "-d"], "specify one of"),
    ],
)
def test_errors(directory, args, said):
    before = (directory / "main.cf").read_bytes()
    done = ours(directory, *args)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert (directory / "main.cf").read_bytes() == before


@pytest.mark.parametrize("args", [["-n"], ["-d"], ["-M"], ["-e", "a=b"], ["-x", "mynetworks"]])
@pytest.mark.parametrize("text", [None, "nonsense\n"])
def test_broken_directory_is_no_traceback(tmp_path, args, text):
    if text:
        (tmp_path / "main.cf").write_text(text)
        (tmp_path / "master.cf").write_text("smtp inet\n")
    done = ours(tmp_path if text else Path("/nonexistent"), *args)
    assert b"Traceback" not in done.stderr
    assert done.returncode == (0 if text and args[0] == "-e" else 1)


def test_loop_is_no_traceback(directory):
    (directory / "main.cf").write_text("mynetworks = $a\na = $mynetworks\n")
    done = ours(directory, "-x", "mynetworks")
    assert done.returncode == 1
    assert b"refers to itself" in done.stderr
    assert b"Traceback" not in done.stderr


def test_table_types(directory):
    types = ours(directory, "-m").stdout.decode().split()
    assert {"hash", "lmdb", "cidr", "regexp", "static"} <= set(types)
