"""`fastrelay source` on real sockets: what it sends, what it reports, and whom it refuses to send to."""

import mailbox
import os
import pty
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest
from load_lab import FASTRELAY, Relay, SinkProcess, cpu_seconds, run, source

from fastrelay.load.messages import MadeUp, Uuids, find_files, ready
from fastrelay.load.report import Report, Times
from support.ports import free_port
from support.relay import PATIENCE, until

HERE = "127.0.0.1:1"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("pipelining", [[], ["--pipelining"]])
@pytest.mark.parametrize("per_connection", [0, 3])
def test_all_arrive(tmp_path, pipelining, per_connection):
    with SinkProcess("--maildir", str(tmp_path)) as sink:
        status, report = source(
            "--sessions", 4, "--messages", 50, "--recipients", 3, "--size", "600-2000",
            "--per-connection", per_connection, *pipelining, sink.address,
        )  # fmt: skip
        counts = sink.counts()
    assert status == 0
    assert (report["started"], report["accepted"], report["failed"], report["recipients"]) == (50, 50, 0, 150)
    assert (counts["messages"], counts["recipients"]) == (50, 150)
    assert report["bytes"] == counts["bytes"] and 50 * 600 <= counts["bytes"] <= 50 * 2000
    assert report["connections"] == counts["connections"]
    assert report["connections"] == 4 if not per_connection else report["connections"] >= 17
    assert counts["rejected"] == counts["lost"] == 0
    messages = list(mailbox.Maildir(tmp_path))
    assert len({message["X-Fastrelay-Source"] for message in messages}) == 50
    people = [person for message in messages for person in message.get_all("X-Envelope-To")]
    assert sorted(people) == sorted(f"<sink{n}@example.com>" for n in range(1, 151))


def test_addresses_helo_and_size(tmp_path):
    with SinkProcess("--maildir", str(tmp_path), "--raw") as sink:
        status, _ = source(
            "--messages", 2, "--from", "a%d@x.example", "--to", "u%d@d%d.example", "--helo", "me.example",
            "--size", 5000, sink.address,
        )  # fmt: skip
        assert (status, sink.counts()["bytes"]) == (0, 10000)
    first, second = sorted(path.read_bytes() for path in (tmp_path / "new").iterdir())
    assert first.startswith(
        b"X-Envelope-Helo: me.example\r\nX-Envelope-From: <a1@x.example> SIZE=5000\r\n"
        b"X-Envelope-To: <u1@d1.example>\r\nFrom: <a1@x.example>\r\n"
    )
    assert b"X-Envelope-To: <u2@d2.example>\r\n" in second


def test_report_in_words_and_quiet_without_a_terminal():
    with SinkProcess() as sink:
        done = run("source", "--messages", 3, sink.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("accepted 3 of 3 messages, 3 recipients, on 1 connections in ")
    assert re.search(r"^message  p50 \d+\.\d\d ms  p90 .*  p99 .*  max .* ms ", done.stdout, re.M)


def test_progress_bar_on_a_terminal_only():
    terminal, other_end = pty.openpty()
    with SinkProcess() as sink:
        done = subprocess.run(
            [*FASTRELAY, "source", "--rate", "20", "--messages", "30", sink.address],
            stdout=subprocess.PIPE, stderr=other_end, timeout=PATIENCE,
        )  # fmt: skip
    os.close(other_end)
    shown = os.read(terminal, 100000)
    os.close(terminal)
    assert done.returncode == 0
    assert re.search(rb"\r\[#+ +\] +\d+%  \d+ accepted, 0 failed, \d+/s ", shown) and b"\n" not in shown


@pytest.mark.parametrize("pipelining", [[], ["--pipelining"]])
@pytest.mark.parametrize(("rule", "error"), [
    ("connect=421 4.3.2 busy", "connect: 421 4.3.2 busy"), ("connect=554 5.7.1 no", "connect: 554 5.7.1 no"),
    ("mail=451 4.3.0 x", "mail: 451 4.3.0 x"), ("rcpt=550 5.1.1 x", "rcpt: 550 5.1.1 x"),
    ("data=452 4.3.1 x", "data: 452 4.3.1 x"), ("dot=554 5.6.0 x", "dot: 554 5.6.0 x"),
])  # fmt: skip
def test_refusals_are_counted_by_reply(rule, error, pipelining):
    with SinkProcess("--reply", rule) as sink:
        status, report = source("--messages", 3, "--sessions", 2, *pipelining, sink.address)
        assert (sink.counts()["messages"], status) == (0, 1)
    assert (report["started"], report["accepted"], report["failed"]) == (3, 0, 3)
    assert report["errors"] == {error: 3}


def test_helo_after_ehlo_is_refused():
    with SinkProcess("--reply", "helo/ehlo=502 5.5.1 no") as sink:
        assert source("--messages", 2, "--pipelining", sink.address)[0] == 0


@pytest.mark.parametrize("pipelining", [[], ["--pipelining"]])
def test_some_recipients_refused(pipelining):
    with SinkProcess("--reply", "rcpt=450 4.2.1 x:every 2") as sink:
        status, report = source("--messages", 2, "--recipients", 4, *pipelining, sink.address)
        assert sink.counts()["recipients"] == 4
    assert (status, report["accepted"], report["failed"]) == (1, 2, 0)
    assert (report["recipients"], report["recipients_rejected"]) == (4, 4)


@pytest.mark.parametrize("pipelining", [[], ["--pipelining"]])
@pytest.mark.parametrize("stage", ["connect", "helo", "mail", "rcpt", "data", "content", "dot"])
def test_lost_connections_are_counted_and_the_run_ends(stage, pipelining):
    with SinkProcess("--drop", f"{stage}:every 2") as sink:
        status, report = source(
            "--messages", 6, "--per-connection", 2, "--size", 100000, *pipelining, sink.address
        )
        counts = sink.counts()
    assert status == 1 and report["started"] == 6
    assert report["accepted"] == counts["messages"] and report["failed"] == counts["dropped"] > 0
    assert report["accepted"] + report["failed"] == 6
    assert sum(report["errors"].values()) == report["failed"]
    assert all(error.endswith(": lost connection") for error in report["errors"])


def test_nobody_there_and_silence():
    status, report = source("--messages", 3, f"127.0.0.1:{free_port()}")
    assert (status, report["errors"]) == (1, {"connect: Connection refused": 3})
    with SinkProcess("--latency", "dot=3600000") as sink:
        status, report = source("--messages", 1, "--timeout", 1, sink.address)
        assert (status, report["errors"]) == (1, {"dot: timed out": 1})


def test_rate_and_duration():
    with SinkProcess() as sink:
        status, report = source("--rate", 50, "--duration", 1, "--sessions", 3, sink.address)
        assert status == 0 and 5 <= report["accepted"] <= 50 * report["seconds"] + 2
        assert report["seconds"] >= 0.9
        status, report = source("--duration", 0.3, sink.address)
        assert status == 0 and report["started"] == report["accepted"] > 0


def test_an_interrupt_finishes_what_is_under_way(tmp_path):
    with SinkProcess("--maildir", str(tmp_path)) as sink:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = len(os.listdir(tmp_path / "new"))
            process = subprocess.Popen(
                [*FASTRELAY, "source", "--rate", "20", "--messages", "1000", sink.address],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            until(lambda before=before: len(os.listdir(tmp_path / "new")) > before)
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
            accepted, of = re.match(r"accepted (\d+) of (\d+) messages", out).groups()
            assert (process.returncode, err) == (128 + number, "") and accepted == of != "0"


def test_ledger_names_each_accepted_message_once(tmp_path):
    box, ledger = tmp_path / "box", tmp_path / "ledger"
    with SinkProcess("--maildir", str(box), "--reply", "dot=451 4.3.0 x:every 3") as sink:
        status, report = source("--messages", 30, "--sessions", 3, "--ledger", ledger, sink.address)
    lines = [line.split(" ") for line in ledger.read_text().splitlines()]
    assert status == 1 and len(lines) == report["accepted"] == 20
    assert all(UUID.fullmatch(mark) and queue_id for mark, queue_id in lines)
    assert {mark for mark, _ in lines} == {message["X-Fastrelay-Source"] for message in mailbox.Maildir(box)}
    assert len({queue_id for _, queue_id in lines}) == 20


FILES = {
    "1": b"Subject: lf\n\n.dot\n..\n.\nend without",
    "2": b"Subject: crlf\r\n\r\nbare \r cr\r\n",
    "3": b"",
    "4": b".\n",
    "5": "Subject: ü\n\nö\n".encode() + bytes(range(128, 256)) + b"\n",
}


@pytest.mark.parametrize("kind", ["maildir", "directory", "files"])
def test_files_go_as_they_are(tmp_path, kind):
    place = tmp_path / "in" / ("new" if kind == "maildir" else "sub")
    place.mkdir(parents=True)
    if kind == "maildir":
        (tmp_path / "in/cur").mkdir()
    for name, data in FILES.items():
        (place / name).write_bytes(data)
    names = [place / name for name in FILES] if kind == "files" else [tmp_path / "in"]
    with SinkProcess("--maildir", str(tmp_path / "out")) as sink:
        status, _ = source(sink.address, "--files", *names)
        assert (status, sink.counts()["messages"]) == (0, 5)
    got = [path.read_bytes() for path in sorted((tmp_path / "out/new").iterdir())]
    for data, kept in zip(FILES.values(), got, strict=True):
        wanted = data.replace(b"\r\n", b"\n")
        wanted += b"\n" if wanted and not wanted.endswith(b"\n") else b""
        envelope, content = kept.split(b"X-Envelope-To: <sink@example.com>\n")
        assert content == wanted
        assert (b"BODY=8BITMIME" in envelope) == (not data.isascii())


def test_python_test_messages_through_the_wire(tmp_path):
    from test import test_email

    paths = find_files([os.path.join(os.path.dirname(test_email.__file__), "data")])
    mails = [path for path in paths if path.suffix == ".txt"]
    with SinkProcess("--maildir", str(tmp_path), "--raw") as sink:
        assert source("--pipelining", sink.address, "--files", *mails)[0] == 0
    got = Counter(
        path.read_bytes().split(b"X-Envelope-To: <sink@example.com>\r\n")[1]
        for path in (tmp_path / "new").iterdir()
    )
    wanted = Counter()
    for mail in mails:
        data = re.sub(rb"\r?\n", b"\r\n", mail.read_bytes())
        wanted[data + (b"" if data.endswith(b"\r\n") or not data else b"\r\n")] += 1
    assert len(mails) > 30 and got == wanted


def test_files_again_with_a_ledger_and_none(tmp_path):
    (tmp_path / "m").write_bytes(b"Subject: x\n\nx\n")
    (tmp_path / "empty").mkdir()
    with SinkProcess("--maildir", str(tmp_path / "out")) as sink:
        ledger = tmp_path / "ledger"
        assert source("--messages", 3, "--ledger", ledger, sink.address, "--files", tmp_path / "m")[0] == 0
        marks = {line.split()[0] for line in ledger.read_text().splitlines()}
        assert marks == {message["X-Fastrelay-Source"] for message in mailbox.Maildir(tmp_path / "out")}
        for wrong in ("empty", "absent"):
            done = run("source", sink.address, "--files", tmp_path / wrong)
            assert done.returncode == 1 and done.stderr.count("\n") == 1 and wrong in done.stderr


def test_strangers_are_refused():
    for target in ("192.0.2.1:25", "[2001:db8::1]:25", "0.0.0.0:25", "[::ffff:192.0.2.1]:25"):
        done = run("source", target)
        assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "is not this host" in done.stderr and "--allow-remote" in done.stderr
    with SinkProcess() as sink:
        assert source(f"localhost:{sink.port}")[0] in (0, 1)  # ::1 or 127.0.0.1: either is this host


@pytest.mark.parametrize("words", [
    [], ["127.0.0.1"], ["127.0.0.1:x"], ["x:1", "y:2"], ["--sessions", "0", HERE], ["--size", "9-1", HERE],
    ["--size", "99999999999", HERE], ["--rate", "-1", HERE], ["--rate", "inf", HERE],
    ["--from", "a\nb", HERE], ["--helo", "a b", HERE], ["--ledger", "/nonexistent/x", HERE],
    ["no-such-host.invalid:25"], ["--sessions", "30000", "--duration", "1", HERE], ["127.0.0.1:99999"],
])  # fmt: skip
def test_wrong_arguments_are_told_in_a_line(words):
    done = run("source", *words)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("source: fatal: ") and done.stderr.count("\n") == 1


def test_through_a_real_relay(tmp_path):
    box, ledger = tmp_path / "box", tmp_path / "ledger"
    with SinkProcess("--maildir", str(box), "--reply", "rcpt/sink7@=550 5.1.1 no") as sink:
        with Relay(tmp_path, sink.port) as relay:
            status, report = source(
                "--messages", 100, "--sessions", 5, "--to", "sink%d@example.com", "--pipelining",
                "--ledger", ledger, f"127.0.0.1:{relay.port}",
            )  # fmt: skip
            assert (status, report["accepted"]) == (0, 100), report
            until(lambda: len(os.listdir(box / "new")) >= 100)  # 99, and the notice about the one
        counts = sink.counts()
    assert counts["messages"] == 100 and counts["rejected"] in (1, 2)  # DATA in the same group
    arrived = {message["X-Fastrelay-Source"] for message in mailbox.Maildir(box)} - {None}
    accepted = {line.split()[0] for line in ledger.read_text().splitlines()}
    assert len(accepted) == 100 and len(accepted - arrived) == 1 and arrived < accepted


def test_the_sink_is_no_bottleneck():
    """Its processor time is what the kernel takes for two reads and two writes, and a little."""
    with SinkProcess() as sink:
        source("--messages", 200, "--pipelining", sink.address)
        before = cpu_seconds(sink.process.pid)
        assert source("--messages", 4000, "--sessions", 10, "--pipelining", sink.address)[0] == 0
        assert (cpu_seconds(sink.process.pid) - before) / 4000 < 250e-6


def test_times():
    times = Times()
    for n in range(1, 1001):
        times.add(n / 1000)
    assert times.maximum == 1.0
    for percent in (50, 90, 99):
        assert abs(times.percentile(percent) / (percent / 100) - 1) < 0.025
    assert Times().summary() == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}


def test_errors_are_bounded():
    report = Report()
    for n in range(5000):
        report.error("rcpt", b"550 5.1.1 <user%d@example.com> unknown\x1b" % n)
    assert len(report.errors) == 101 and sum(report.errors.values()) == 5000
    assert report.errors["rcpt: 550 (others)"] == 4900 and all(map(str.isprintable, report.errors))


def test_made_up_messages_have_their_size():
    made, marks = MadeUp(1000, 1000, "h.example"), Uuids()
    content = made.content(3, marks[3], b"a@b.example", b"c@d.example")
    assert len(content) == 1003 and content.endswith(b"\r\n.\r\n") and UUID.fullmatch(marks[3].decode())
    assert b"\r\n." not in content[:-3]
    short = MadeUp(0, 0, "h").content(1, marks[1], b"", b"c@d")
    assert short.endswith(b"\r\n\r\n.\r\n")


def test_ready_stuffs_dots():
    assert ready(b".\n..a\n\n.b") == b"..\r\n...a\r\n\r\n..b\r\n.\r\n"
    assert ready(b"") == b".\r\n"
    assert ready(b"a\r\n.\rb\n") == b"a\r\n..\rb\r\n.\r\n"


QUICKSTART = """
compatibility_level = 3.6
myhostname = relay.quickstart.example
queue_directory = $config_directory/run/spool
data_directory = $config_directory/run/data
maillog_file = $config_directory/run/maillog
maillog_file_prefixes = $config_directory
mail_owner = nobody
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_quickstart(tmp_path, number):
    """The relay with its sink; the printed commands work; a signal ends all of it."""
    place = tmp_path / "a place"  # commands are quoted
    place.mkdir()
    port, next_port = free_port(), free_port()
    (place / "main.cf").write_text(f"{QUICKSTART}relayhost = [127.0.0.1]:{next_port}\n")
    (place / "master.cf").write_text(
        f"127.0.0.1:{port} inet n - n - - smtpd\nsmtp unix - - n - - smtp\n"
        "error unix - - n - - error\nretry unix - - n - - retry\n"
    )
    script = place / "fastrelay"  # as pip makes it
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom fastrelay.admin.command_line import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    process = subprocess.Popen(
        ["./fastrelay", "-c", ".", "quickstart"],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said = ""
        while "Ctrl-C" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        path = f"PATH={os.path.dirname(sys.executable)}:$PATH; "
        for what in ("send a message", "send a thousand", "list the queue"):
            command = next(line.split(what)[1] for line in said.splitlines() if what in line)
            done = subprocess.run(
                path + command, shell=True, capture_output=True, text=True, timeout=PATIENCE
            )
            assert done.returncode == 0, done
        new = place / "run/received/new"
        until(lambda: len(os.listdir(new)) == 1001)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    for one in (port, next_port):
        assert source(f"127.0.0.1:{one}")[1]["errors"] == {"connect: Connection refused": 1}


def test_quickstart_says_when_the_port_of_its_sink_is_taken(tmp_path):
    with SinkProcess() as sink:
        (tmp_path / "main.cf").write_text(f"{QUICKSTART}relayhost = [127.0.0.1]:{sink.port}\n")
        (tmp_path / "master.cf").write_text("smtp unix - - n - - smtp\n")
        done = run("-c", tmp_path, "quickstart")
        assert done.returncode == 1 and str(sink.port) in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["sink", "source"])
def test_help(command):
    done = run(command, "--help")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(
        f"usage: fastrelay {command} "
    )
