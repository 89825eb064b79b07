"""Every message of Python's own email tests goes through the relay; its body arrives byte for byte.

The files have LF; a client sends CRLF, so that is what must arrive (RFC 5321 2.3.8). The body begins after
the header: after the first empty line, or where the first line is that no header can be. The files beside the
messages are pictures and sounds: with NUL, a lone CR or no header at all they are nothing that SMTP can carry
as it is, and what becomes of them is asserted as well.
"""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.keeping_sink import KeepingSink, Kept
from support.relay import Fastrelay

NO_EMPTY_LINE = {  # messages whose body begins before, or without, an empty line
    "msg_19.txt": b"Send Ppp mailing list",  # no header at all
    "msg_35.txt": b"counter to RFC 2822, ",  # says it itself
}
LINE_LIMIT = 998  # smtp_line_length_limit


def data_directory() -> Path:
    try:
        import test.test_email as package
    except ImportError as error:
        pytest.fail(
            f"this Python has no test.test_email package, whose data directory is the corpus: {error}"
        )
    directory = Path(package.__file__).parent / "data"
    assert directory.is_dir(), f"this Python's test.test_email has no data directory {directory}"
    return directory


def on_the_wire(data: bytes) -> bytes:
    """As a client sends it: lines end in CRLF, the last one too. A lone CR stays."""
    data = re.sub(rb"\r?\n", b"\r\n", data)
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def body_of(name: str, content: bytes) -> bytes:
    if name in NO_EMPTY_LINE:
        return content[content.index(NO_EMPTY_LINE[name]) :]
    return content.partition(b"\r\n\r\n")[2]


def transmit(client: smtplib.SMTP, recipient: str, content: bytes) -> tuple[int, bytes]:
    """The reply to the dot. Not smtplib's data(), which would mend the line ends."""
    assert client.mail("sender@corpus.test", ["BODY=8BITMIME"])[0] == 250
    assert client.rcpt(recipient)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
    return client.getreply()


@contextmanager
def relay_and_sink(**main: object) -> Iterator[tuple[smtplib.SMTP, KeepingSink]]:
    with (
        KeepingSink() as sink,
        Fastrelay({"relayhost": sink.next_hop, **main}) as relay,
        relay.smtp() as client,
    ):
        client.ehlo()
        yield client, sink


def by_recipient(messages: list[Kept]) -> dict[str, Kept]:
    return {kept.recipients[0].decode().split("@")[0].lstrip("<"): kept for kept in messages}


@pytest.mark.parametrize("checked", [False, True])
def test_every_message_arrives_with_its_body(checked: bool) -> None:
    """With every header and line shown to checks that find nothing wrong, too."""
    files = sorted(data_directory().glob("*.txt"))
    assert len(files) >= 40
    checks = {"header_checks": "static:DUNNO", "body_checks": "static:OK"} if checked else {}
    with relay_and_sink(**checks) as (client, sink):
        for file in files:
            reply = transmit(client, f"{file.name}@corpus.test", on_the_wire(file.read_bytes()))
            assert reply[0] == 250, (file.name, reply)
        arrived = by_recipient(sink.wait(len(files)))
    assert set(arrived) == {file.name for file in files}
    for file in files:
        sent = body_of(file.name, on_the_wire(file.read_bytes()))
        assert body_of(file.name, arrived[file.name].content) == sent, file.name


def test_bare_line_feeds_are_normalized_by_default() -> None:
    """The same files as they are on disk, LF and all: accepted, and what arrives is as if sent with CRLF."""
    files = sorted(data_directory().glob("*.txt"))
    with relay_and_sink() as (client, sink):
        for file in files:
            data = file.read_bytes().rstrip(b"\r\n") + b"\r\n"  # only CRLF.CRLF ends the data
            reply = transmit(client, f"{file.name}@corpus.test", data)
            assert reply[0] == 250, (file.name, reply)
        arrived = by_recipient(sink.wait(len(files)))
    for file in files:
        sent = body_of(file.name, on_the_wire(file.read_bytes().rstrip(b"\r\n")))
        assert body_of(file.name, arrived[file.name].content) == sent, file.name


def test_bare_line_feeds_can_be_rejected() -> None:
    data = (data_directory() / "msg_01.txt").read_bytes().rstrip(b"\n") + b"\r\n"
    with relay_and_sink(smtpd_forbid_bare_newline="reject") as (client, sink):
        reply = transmit(client, "someone@corpus.test", data)
        assert reply == (550, b"5.5.2 relay.test Error: bare <LF> received")
        assert not sink.messages


def test_what_is_no_message() -> None:
    """Taken with 250; NUL and a lone CR arrive as blanks, lines above 998 are folded, all else is as sent."""
    files = sorted(file for file in data_directory().iterdir() if file.suffix not in (".txt", ".py"))
    files = [file for file in files if file.is_file()]
    assert files
    with relay_and_sink() as (client, sink):
        for file in files:
            reply = transmit(client, f"{file.name}@corpus.test", on_the_wire(file.read_bytes()))
            assert reply[0] == 250, (file.name, reply)
        arrived = by_recipient(sink.wait(len(files)))
    for file in files:
        sent = on_the_wire(file.read_bytes())
        mended = re.sub(rb"\r(?!\n)|\0", b" ", sent)
        got = body_of(file.name, arrived[file.name].content)
        assert max(map(len, got.split(b"\r\n"))) <= 1 + LINE_LIMIT
        assert got.replace(b"\r\n ", b"") == mended.replace(b"\r\n ", b""), file.name
