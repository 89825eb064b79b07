"""`fastrelay sink` on real sockets: counts, a Maildir, and every way in which it can be told to misbehave."""

import asyncio
import mailbox
import os
import shutil
import signal
import smtplib
import subprocess
import time

import pytest
from load_lab import FASTRELAY, SinkProcess, run

from fastrelay.load.keep import MaildirKeeper
from fastrelay.load.sink import Sink, SinkConnection
from support.relay import PATIENCE

MESSAGE = b"Subject: x\r\n\r\n..two\r\n.\r\r\nlast\r\n"  # as it is on the wire, without the dot
GROUP = b"MAIL FROM:<a@b.example> BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nDATA\r\n"


def greeted(sink, name=b"EHLO c.example"):
    talk = sink.connect()
    talk.send(name + b"\r\n")
    assert talk.codes(2) == [220, 250]
    return talk


def test_counts_and_json(tmp_path):
    with SinkProcess() as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            assert (
                client.sendmail("a@b.example", ["c@d.example", "e@f.example"], "Subject: 1\n\nbody\n") == {}
            )
            assert client.sendmail("", "c@d.example", "Subject: 2\n\n") == {}
        counts = sink.counts()
    assert counts == {
        "connections": 1, "messages": 2, "recipients": 3, "bytes": 34, "rejected": 0, "dropped": 0, "lost": 0,
    }  # fmt: skip


def test_plain_output_and_both_signals():
    for number in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(
            [*FASTRELAY, "sink", "--listen", "127.0.0.1:0", "--count", "--progress"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline().startswith("listening on 127.0.0.1:")
        assert process.stderr.readline().endswith("(0/s, 0 open)\n")
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and "Traceback" not in err
        assert out == "connections 0 messages 0 recipients 0 bytes 0 rejected 0 dropped 0 lost 0\n"


def test_ipv6_and_an_address_in_use():
    with SinkProcess("--listen", "[::1]:0") as sink:
        assert sink.address.startswith("[::1]:")
        done = run("sink", "--listen", sink.address)
        assert done.returncode == 1 and "address already in use" in done.stderr.lower()
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("raw", [False, True])
def test_maildir_keeps_contents_and_envelope(tmp_path, raw):
    with SinkProcess("--maildir", str(tmp_path / "box"), *(["--raw"] if raw else [])) as sink:
        talk = greeted(sink)
        talk.send(GROUP + MESSAGE + b".\r\nQUIT\r\n")
        assert talk.codes(6) == [250, 250, 354, 250, 221, -1]
    (path,) = (tmp_path / "box/new").iterdir()
    wanted = (
        b"X-Envelope-Helo: c.example\r\nX-Envelope-From: <a@b.example> BODY=8BITMIME\r\n"
        b"X-Envelope-To: <c@d.example>\r\nSubject: x\r\n\r\n.two\r\n\r\r\nlast\r\n"
    )
    assert path.read_bytes() == (wanted if raw else wanted.replace(b"\r\n", b"\n"))
    assert len(mailbox.Maildir(tmp_path / "box")) == 1


def test_maildir_that_cannot_be_written_gives_451(tmp_path):
    with SinkProcess("--maildir", str(tmp_path / "box")) as sink:
        shutil.rmtree(tmp_path / "box")
        talk = greeted(sink)
        talk.send(GROUP + MESSAGE + b".\r\n")
        assert talk.codes(4) == [250, 250, 354, 451]
        sink.process.terminate()
        assert "cannot keep a message" in sink.process.communicate(timeout=PATIENCE)[1]


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True


def test_every_border_of_two_reads(tmp_path):
    """The same dialogue, cut at each place and byte by byte, has the same outcome."""
    whole = b"EHLO c\r\n" + (GROUP + MESSAGE + b".\r\n") + (GROUP + b".\r\n") + b"QUIT\r\n"

    async def outcome(pieces):
        kept = []
        sink = Sink(lambda *what: kept.append(what[1:]))
        connection, wire = SinkConnection(sink), Wire()
        connection.connection_made(wire)
        for piece in pieces:
            connection.data_received(piece)
        assert wire.closed and not connection.pending
        return wire.written, kept, sink.counts

    async def all_cuts():
        first = await outcome([whole])
        assert [content for *_, content in first[1]] == [b"Subject: x\r\n\r\n.two\r\n\r\r\nlast\r\n", b""]
        assert first[2].bytes == len(MESSAGE)
        for cut in range(1, len(whole)):
            assert await outcome([whole[:cut], whole[cut:]]) == first
        assert await outcome([whole[n : n + 1] for n in range(len(whole))]) == first

    asyncio.run(all_cuts())


def test_sequence_and_syntax():
    with SinkProcess() as sink:
        talk = greeted(sink, b"HELO c")
        talk.send(
            b"DATA\r\nRCPT TO:<a@b>\r\nMAIL <a@b>\r\nMAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\nFOO\r\nNOOP\r\n"
        )
        assert talk.codes(8) == [503, 503, 501, 250, 503, 503, 502, 250]
        talk.send(b"rset\r\nmail from:<>\r\nvrfy x\r\n")
        assert talk.codes(3) == [250, 250, 252]
        talk.send(b"x" * 70000)
        assert talk.codes(2) == [500, -1]


def test_ehlo_keywords_are_those_given():
    with SinkProcess("--ehlo", "SIZE 1000", "DSN") as sink, smtplib.SMTP("127.0.0.1", sink.port) as client:
        client.ehlo()
        assert client.esmtp_features == {"size": "1000", "dsn": ""}


STAGES = {"helo": 1, "mail": 2, "rcpt": 3, "data": 4}


@pytest.mark.parametrize("stage", STAGES)
def test_a_scripted_reply_at_each_stage(stage):
    with SinkProcess("--reply", f"{stage}=450 4.2.1 no: {stage}") as sink:
        talk = sink.connect()
        talk.line()
        talk.send(b"EHLO c\r\n" + GROUP)
        got = talk.codes(4)
        assert got[STAGES[stage] - 1] == 450
        assert got[: STAGES[stage] - 1] == [250] * (STAGES[stage] - 1)
        assert sink.counts()["rejected"] >= 1


def test_scripted_replies_at_connect_dot_and_quit():
    with SinkProcess("--reply", "connect=554 5.7.1 go away") as sink:
        assert sink.connect().line() == b"554 5.7.1 go away\r\n"
    with SinkProcess(
        "--reply", "dot=552-5.2.2 Mailbox\\n552 5.2.2 full", "--reply", "quit=421 4.0.0 x"
    ) as sink:
        talk = greeted(sink)
        talk.send(GROUP + MESSAGE + b".\r\nQUIT\r\n")
        assert talk.codes(3) == [250, 250, 354]
        assert (talk.line(), talk.line()) == (b"552-5.2.2 Mailbox\r\n", b"552 5.2.2 full\r\n")
        assert talk.codes(2) == [421, -1]
        assert sink.counts()["messages"] == 0


def test_421_ends_the_connection_and_other_2xx_texts_are_acceptance():
    with SinkProcess(
        "--reply", "mail=250 2.1.0 fine", "--reply", "dot=250 2.6.0 mine", "--reply", "rcpt/x@=421 4.3.2 bye"
    ) as sink:
        talk = greeted(sink)
        talk.send(b"RCPT TO:<a@b>\r\n" + GROUP + b".\r\n")
        assert talk.codes(1) == [503]
        assert talk.line() == b"250 2.1.0 fine\r\n"
        assert talk.codes(2) == [250, 354]
        assert talk.line() == b"250 2.6.0 mine\r\n"
        talk.send(b"MAIL FROM:<>\r\nRCPT TO:<X@b>\r\nRCPT TO:<a@b>\r\n")
        assert talk.codes(3) == [250, 421, -1]
        assert sink.counts()["messages"] == 1


def test_rules_for_some_recipients_first_every_and_per_cent():
    with SinkProcess(
        "--reply", "rcpt/no@=550 5.1.1 Unknown", "--reply", "rcpt/later=450 4.2.0 Later:first 2",
        "--reply", "rcpt/third=452 4.5.3 Third:every 3", "--reply", "rcpt/never=550 x:0",
        "--reply", "rcpt/half=451 h:50%",
    ) as sink:  # fmt: skip
        talk = greeted(sink)
        talk.send(b"MAIL FROM:<>\r\n")
        people = [b"no@a", b"yes@a", *[b"later@a"] * 3, *[b"third@a"] * 6, b"never@a"]
        talk.send(b"".join(b"RCPT TO:<%b>\r\n" % person for person in people))
        assert talk.codes(1 + len(people)) == [
            250,
            550,
            250,
            450,
            450,
            250,
            250,
            250,
            452,
            250,
            250,
            452,
            250,
        ]
        talk.send(b"RCPT TO:<half@a>\r\n" * 400)
        assert 120 < talk.codes(400).count(451) < 280


@pytest.mark.parametrize(("stage", "codes"), [
    ("connect", [-1]), ("helo", [220, -1]), ("mail", [220, 250, -1]), ("rcpt", [220, 250, 250, -1]),
    ("data", [220, 250, 250, 250, -1]), ("content", [220, 250, 250, 250, 354, -1]),
    ("dot", [220, 250, 250, 250, 354, -1]), ("quit", [220, 250, 250, 250, 354, 250, -1]),
])  # fmt: skip
def test_drop_at_each_stage(stage, codes):
    with SinkProcess("--drop", stage) as sink:
        talk = sink.connect()
        for sent, count in ((b"", 1), (b"EHLO c\r\n", 1), (GROUP, 3), (MESSAGE, 0), (b".\r\nQUIT\r\n", 2)):
            try:
                talk.send(sent)
            except (BrokenPipeError, ConnectionResetError):
                break
            got = talk.codes(count) if count else []
            assert got == codes[: len(got)]
            codes = codes[len(got) :]
            if got[-1:] == [-1]:
                break
            time.sleep(0.02)
        assert codes in ([], [-1])
        assert sink.counts()["dropped"] == 1


def test_latency_and_tarpit():
    with SinkProcess("--latency", "dot=200", "--latency", "20-30") as sink:
        begun = time.monotonic()
        talk = greeted(sink)
        assert time.monotonic() - begun >= 0.018
        begun = time.monotonic()
        talk.send(GROUP + b".\r\nNOOP\r\n")
        assert talk.codes(5) == [250, 250, 354, 250, 250]
        assert time.monotonic() - begun >= 0.2
    with SinkProcess("--tarpit", "100") as sink:
        talk, begun = sink.connect(), time.monotonic()
        assert len(talk.line()) == 39
        assert time.monotonic() - begun >= 0.3
        talk.send(b"NOOP\r\nQUIT\r\n")
        assert talk.codes(3) == [250, 221, -1]
        assert time.monotonic() - begun > 0.6


def test_script_file(tmp_path):
    script = tmp_path / "script"
    script.write_text("# trouble\n\nreply rcpt/no@=550 5.1.1 Unknown\ndrop dot:first 1\nlatency exp:1\n")
    with SinkProcess("--script", str(script), "--reply", "helo=502 no") as sink:
        talk = sink.connect()
        talk.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<no@a>\r\nRCPT TO:<a@a>\r\nDATA\r\n.\r\n")
        assert talk.codes(7) == [220, 502, 250, 550, 250, 354, -1]
    script.write_text("drop dot\nreply nowhere=450 x\n")
    done = run("sink", "--script", script)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"{script}, line 2: argument --reply: unknown stage 'nowhere'" in done.stderr


def test_max_messages_ends_it_after_quit():
    with SinkProcess("--max-messages", "2") as sink:
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            for _ in range(2):
                client.sendmail("a@b.example", "c@d.example", "x")
        assert sink.ended()["messages"] == 2


def test_a_client_that_vanishes_leaves_nothing(tmp_path):
    with SinkProcess("--maildir", str(tmp_path)) as sink:
        talk = greeted(sink)
        talk.send(GROUP + MESSAGE)
        assert talk.codes(3) == [250, 250, 354]
        talk.close()
        greeted(sink).close()
        assert sink.counts()["lost"] == 1
    assert os.listdir(tmp_path / "new") == os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("words", [
    ["--listen", "1.2.3.4"], ["--listen", "::1:25"], ["--listen", "x:99999"], ["--reply", "rcpt"],
    ["--reply", "rcpt=hello"], ["--reply", "foo=450 x"], ["--reply", "content=450 x"], ["--drop", "dot:101"],
    ["--drop", "dot:every 0"], ["--latency", "abc"], ["--latency", "9-1"], ["--latency", "foo=1"],
    ["--tarpit", "0"], ["--tarpit", "nan"], ["--max-messages", "0"], ["--nonsense"],
    ["--script", "/nonexistent/file"], ["--ehl", "x"], ["--maildir", "/dev/null/x"],
    ["--listen", "no-such-host.invalid:0"],
])  # fmt: skip
def test_wrong_arguments_are_told_in_a_line(words):
    done = run("sink", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("sink: fatal: ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")
def test_swaks(tmp_path):
    with SinkProcess("--maildir", str(tmp_path), "--max-messages", "1") as sink:
        done = subprocess.run(
            ["swaks", "--server", sink.address, "--from", "a@b.example", "--to", "c@d.example,e@d.example"],
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert sink.ended()["recipients"] == 2
    (message,) = mailbox.Maildir(tmp_path)
    assert message.get_all("X-Envelope-To") == ["<c@d.example>", "<e@d.example>"]
    assert "This is a test mailing" in message.get_payload()


def test_keeper_names_are_unique(tmp_path):
    keep = MaildirKeeper(tmp_path)
    for number in range(1, 50):
        keep(number, b"h", b"<>", [b"<a@b>"], b"x\r\n")
    assert len(os.listdir(tmp_path / "new")) == 49
