"""The programs that people send with, and Debian's Postfix on either side, against a live relay.

Each client sends to several recipients; Postfix relays to us, and takes from us. What RFC 3461, 6152 and 6531
add to the envelope must come out at the next hop as it went in; big messages and many recipients go through.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTPUTF8

import pytest

from support.keeping_sink import KeepingSink
from support.relay import PATIENCE, Fastrelay, Postfix

LETTER = b"From: a@client.test\nTo: b@there.test\nSubject: a letter\n\nFirst line\n.\n..two dots\nlast\n"
CRLF_LETTER = LETTER.replace(b"\n", b"\r\n")  # smtplib sends bytes as they are
BODY = b"First line\r\n.\r\n..two dots\r\nlast\r\n"
TWO = [b"<b@there.test>", b"<c@there.test>"]


@contextmanager
def relay_to_sink(**main: object) -> Iterator[tuple[Fastrelay, KeepingSink]]:
    with KeepingSink() as sink, Fastrelay({"relayhost": sink.next_hop, **main}) as relay:
        yield relay, sink


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Fastrelay, KeepingSink]]:
    with relay_to_sink(fastrelay_segment_size=16777216) as both:
        yield both


@pytest.fixture
def relay(live: tuple[Fastrelay, KeepingSink]) -> Fastrelay:
    live[1].messages.clear()
    return live[0]


@pytest.fixture
def sink(live: tuple[Fastrelay, KeepingSink]) -> KeepingSink:
    return live[1]


def run(*command: object, input: bytes = b"") -> str:
    done = subprocess.run(
        [str(word) for word in command], input=input, capture_output=True, timeout=PATIENCE,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.decode()


def addresses(recipients: list[bytes]) -> list[bytes]:
    return [recipient.split()[0] for recipient in recipients]


def check_letter(sink: KeepingSink) -> None:
    (kept,) = sink.wait(1)
    assert kept.sender.split()[0] == b"<a@client.test>"
    assert addresses(kept.recipients) == TWO
    assert b"Subject: a letter\r\n" in kept.content
    assert kept.body == BODY


# Clients


def test_swaks(relay: Fastrelay, sink: KeepingSink) -> None:
    said = run(
        "swaks", "--server", f"{relay.host}:{relay.port}", "--from", "a@client.test", "--helo", "client.test",
        "--to", "b@there.test,c@there.test", "--data", "-", input=LETTER[:-1],
    )  # fmt: skip
    assert "250 2.0.0 Ok: queued as" in said
    check_letter(sink)


def test_swaks_pipelining(relay: Fastrelay, sink: KeepingSink) -> None:
    run(
        "swaks", "--server", f"{relay.host}:{relay.port}", "--from", "a@client.test", "--helo", "client.test",
        "--to", "b@there.test,c@there.test", "--pipeline", "--data", "-", input=LETTER[:-1],
    )  # fmt: skip
    check_letter(sink)


def test_curl(relay: Fastrelay, sink: KeepingSink) -> None:
    run(
        "curl", "--silent", "--show-error", f"smtp://{relay.host}:{relay.port}/client.test", "--crlf",
        "--mail-from", "a@client.test", "--mail-rcpt", "b@there.test", "--mail-rcpt", "c@there.test",
        "--upload-file", "-", input=LETTER,
    )  # fmt: skip
    check_letter(sink)


def test_msmtp(relay: Fastrelay, sink: KeepingSink) -> None:
    run(
        "msmtp", f"--host={relay.host}", f"--port={relay.port}", "--from=a@client.test", "--auth=off",
        "--tls=off", "--domain=client.test", "b@there.test", "c@there.test", input=LETTER,
    )  # fmt: skip
    check_letter(sink)


def test_smtplib(relay: Fastrelay, sink: KeepingSink) -> None:
    with relay.smtp() as client:
        assert client.sendmail("a@client.test", ["b@there.test", "c@there.test"], CRLF_LETTER) == {}
    check_letter(sink)


def test_some_recipients_refused() -> None:
    """smtplib is told which; the others get the message."""
    with relay_to_sink(relay_domains="there.test", relay_recipient_maps="inline:{b@there.test=OK}") as (
        relay,
        sink,
    ):
        with relay.smtp() as client:
            refused = client.sendmail("a@client.test", ["no@there.test", "b@there.test"], CRLF_LETTER)
        assert list(refused) == ["no@there.test"]
        assert refused["no@there.test"][0] == 550
        (kept,) = sink.wait(1)
        assert addresses(kept.recipients) == [b"<b@there.test>"]


# What must come through


def test_eight_bits(relay: Fastrelay, sink: KeepingSink) -> None:
    content = b"Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    content += b"Content-Transfer-Encoding: 8bit\r\n\r\n" + "Grüße, \u65e5\u672c\r\n".encode()
    with relay.smtp() as client:
        client.sendmail("a@client.test", "b@there.test", content, ["BODY=8BITMIME"])
    (kept,) = sink.wait(1)
    assert b"BODY=8BITMIME" in kept.sender
    assert kept.body == "Grüße, \u65e5\u672c\r\n".encode()


def test_smtputf8(relay: Fastrelay, sink: KeepingSink) -> None:
    message = EmailMessage(policy=SMTPUTF8)
    message["From"], message["To"], message["Subject"] = "jörg@müller.test", "δοκιμή@there.test", "Grüße"
    message.set_content("hello\n")
    with relay.smtp() as client:
        client.send_message(message, "jörg@müller.test", ["δοκιμή@there.test"])
    (kept,) = sink.wait(1)
    assert b"SMTPUTF8" in kept.sender
    assert kept.sender.split()[0] == "<jörg@müller.test>".encode()
    assert addresses(kept.recipients) == ["<δοκιμή@there.test>".encode()]
    assert "Subject: Grüße\r\n".encode() in kept.content


def test_smtputf8_needs_a_next_hop_that_has_it() -> None:
    with (
        KeepingSink(extensions=(b"PIPELINING", b"8BITMIME")) as sink,
        Fastrelay({"relayhost": sink.next_hop}) as relay,
    ):
        with relay.smtp() as client:
            client.ehlo()
            client.sendmail("jörg@client.test", ["b@there.test"], b"Subject: x\r\n\r\nx\r\n", ["SMTPUTF8"])
        relay.wait_log(
            r"to=<b@there.test>.*dsn=5\.6\.7, status=bounced \(SMTPUTF8 is required, but was not offered"
        )
        assert not sink.messages


def test_dsn_parameters_go_on(relay: Fastrelay, sink: KeepingSink) -> None:
    with relay.smtp() as client:
        client.ehlo()
        assert client.mail("a@client.test", ["RET=HDRS", "ENVID=QQ+2B314159"])[0] == 250
        assert client.rcpt("b@there.test", ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;B+2Bx@orig.test"])[0] == 250
        assert client.rcpt("c@there.test", ["NOTIFY=NEVER"])[0] == 250
        assert client.data(CRLF_LETTER)[0] == 250
    (kept,) = sink.wait(1)
    words = kept.sender.split()
    assert b"RET=HDRS" in words
    assert b"ENVID=QQ+2B314159" in words
    first, second = kept.recipients
    assert set(first.split()) == {b"<b@there.test>", b"ORCPT=rfc822;B+2Bx@orig.test", b"NOTIFY=SUCCESS,DELAY"}
    assert set(second.split()) >= {b"<c@there.test>", b"NOTIFY=NEVER"}


def test_a_large_message(relay: Fastrelay, sink: KeepingSink) -> None:
    line = b"0123456789" * 7 + b"\r\n"
    body = line * (5 * 1024 * 1024 // len(line))
    with relay.smtp() as client:
        client.sendmail("a@client.test", "b@there.test", b"Subject: large\r\n\r\n" + body)
    (kept,) = sink.wait(1)
    assert kept.body == body
    size = next(word for word in kept.sender.split() if word.startswith(b"SIZE="))
    assert len(kept.content) - 1000 <= int(size[5:]) <= len(kept.content)


def test_messages_larger_than_a_segment() -> None:
    """They go over several segments, one after the other, whatever else the preparer does meanwhile."""
    line = b"0123456789" * 7 + b"\r\n"
    bodies = [line * ((2 + number % 5) * 1048576 // len(line)) for number in range(30)]
    with relay_to_sink(fastrelay_segment_size=1048576) as (relay, sink):
        for body in bodies:
            with relay.smtp() as client:
                client.sendmail("a@client.test", "b@there.test", b"Subject: large\r\n\r\n" + body)
        sink.wait(30)
        assert sorted(kept.body for kept in sink.messages) == sorted(bodies)


def test_two_hundred_recipients(relay: Fastrelay, sink: KeepingSink) -> None:
    """All of them once, at most default_destination_recipient_limit (50) a transaction."""
    people = [f"user{number}@there.test" for number in range(200)]
    relay.send("a@client.test", people)
    sink.wait(4)
    got = [address for kept in sink.messages for address in addresses(kept.recipients)]
    assert sorted(got) == sorted(f"<{address}>".encode() for address in people)
    assert len(sink.messages) == 4


# Debian's Postfix on either side


def test_postfix_as_client(relay: Fastrelay, sink: KeepingSink) -> None:
    with Postfix({"relayhost": f"[127.0.0.1]:{relay.port}", "myhostname": "postfix.test"}) as postfix:
        with postfix.smtp() as client:
            client.ehlo()
            client.sendmail(
                "a@client.test",
                ["b@there.test", "c@there.test"],
                CRLF_LETTER,
                ["ENVID=E1"],
                ["NOTIFY=FAILURE"],
            )
        (kept,) = sink.wait(1)
        postfix.wait_log(r"status=sent \(250 2\.0\.0 Ok: queued as \w+\)$")
    check_letter(sink)
    assert b"ENVID=E1" in kept.sender
    assert all(b"NOTIFY=FAILURE" in recipient for recipient in kept.recipients)
    assert (
        b"from postfix.test (localhost [127.0.0.1])\r\n\tby relay.test (fastrelay) with ESMTP id "
        in kept.header
    )


def test_postfix_as_next_hop() -> None:
    with (
        KeepingSink() as sink,
        Postfix({"relayhost": sink.next_hop, "myhostname": "postfix.test"}) as postfix,
        Fastrelay({"relayhost": f"[127.0.0.1]:{postfix.port}"}) as relay,
    ):
        with relay.smtp() as client:
            client.ehlo()
            client.sendmail(
                "a@client.test",
                ["b@there.test", "c@there.test"],
                CRLF_LETTER,
                ["ENVID=E1"],
                ["NOTIFY=FAILURE"],
            )
        (kept,) = sink.wait(1)
        check_letter(sink)
        assert b"ENVID=E1" in kept.sender
        assert all(b"NOTIFY=FAILURE" in recipient for recipient in kept.recipients)
        assert b"from relay.test (localhost [127.0.0.1])" in kept.header
        relay.wait_log(
            r"relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .* status=sent \(250 2\.0\.0 Ok: queued as \w+\)$"
        )


def test_many_messages_from_postfix(relay: Fastrelay, sink: KeepingSink) -> None:
    """Its connection cache sends them over a few connections."""
    with Postfix({"relayhost": f"[127.0.0.1]:{relay.port}"}) as postfix:
        with postfix.smtp() as client:
            for number in range(30):
                client.sendmail("a@client.test", f"user{number}@there.test", CRLF_LETTER)
        sink.wait(30)
    got = sorted(address for kept in sink.messages for address in addresses(kept.recipients))
    assert got == sorted(b"<user%d@there.test>" % number for number in range(30))
