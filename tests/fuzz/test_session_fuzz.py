"""Any bytes at all: replies or a clean close, never an exception, and the same in whatever pieces they come."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.dialogue import CHUNKINGS, cut
from support.receive_lab import BareWire, ReceiveLab

KEEPS_OBJECTS = "the labs serve all tests, and their resolvers keep recent addresses"
OPEN = {"smtpd_forbid_unauth_pipelining": "no", "smtpd_hard_error_limit": "200"}
LABS = {
    "normalize": ReceiveLab(OPEN),
    "reject": ReceiveLab(OPEN | {"smtpd_forbid_bare_newline": "reject", "message_size_limit": "5000"}),
    "strict": ReceiveLab(OPEN | {"strict_rfc821_envelopes": "yes", "smtpd_junk_command_limit": "3"}),
}
FRAGMENTS = [
    *(
        b"EHLO c\r\n",
        b"HELO c\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"QUIT\r\n",
        b"VRFY u@relay.example\r\n",
        b"ETRN x\n",
    ),
    *(b"MAIL FROM:<a@sender.example>\r\n", b"MAIL FROM:<> SIZE=1 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x\r\n")
    * 3,
    *(b"RCPT TO:<u@relay.example>\r\n", b"RCPT TO:<v@relay.example> NOTIFY=NEVER ORCPT=rfc822;v\r\n") * 4,
    *(
        b"RCPT TO:<u@outside.example>\r\n",
        b'RCPT TO:<"u v"@relay.example>\r\n',
        b"RCPT TO:<\xc3\xa9@relay.example>\r\n",
    ),
    *(b"DATA\r\n",) * 6,
    *(b"BDAT 5\r\nab\r\nc", b"BDAT 3 LAST\r\n..\n", b"BDAT 0 LAST\r\n", b"BDAT x\r\n", b"BDAT 9999999\r\n"),
    *(
        b"\r\n.\r\n",
        b"\r\n.\r\n",
        b"\n.\n",
        b"\r\n.\r",
        b"\r\r\n.\r\n",
        b".",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"\t",
        b"\xff",
    ),
    *(
        b"Subject: x\r\n",
        b" folded\r\n",
        b"Received: x\r\n" * 30,
        b"From x\r\n",
        b"\r\n",
        b"body\xe4",
        b"..\r\n",
    ),
    *(
        b"x" * 2047,
        b"x" * 2049,
        b"y" * 998 + b"\r\n",
        b"NOOP " + b"z" * 2043 + b"\r\n",
        b"GET / HTTP/1.1\r\n",
    ),
]
STREAMS = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12)), max_size=40).map(b"".join)
REPLY = re.compile(rb"[2-5]\d\d[ -][\x20-\x7e]*")


def answers(lab: ReceiveLab, stream: bytes, chunking: str) -> tuple[list[bytes], bool, list]:
    wire = BareWire(lab.session(), lambda data: cut(data, chunking, seed=len(stream)))
    wire.send(stream)
    said = [re.sub(rb"(queued as) \w+", rb"\1", line) for line in wire.lines(10_000)]
    taken = [
        (envelope.sender, [r.address for r in envelope.recipients], without_trace(content), envelope.flags)
        for _, envelope, content in wire.messages
    ]
    return said, wire.session.is_open(), taken


def without_trace(content: tuple[bytes, ...]) -> bytes:
    """The contents behind our Received header, which names the queue id."""
    return re.sub(rb"\A.*?id \w+", b"", b"".join(content), count=1, flags=re.S)


@pytest.mark.parametrize("name", LABS)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(stream=STREAMS)
def test_any_stream_gets_the_same_answers_in_any_pieces(name: str, stream: bytes) -> None:
    whole = answers(LABS[name], stream, "whole")
    assert all(REPLY.fullmatch(line) for line in whole[0]), whole[0]
    for chunking in CHUNKINGS[1:]:
        assert answers(LABS[name], stream, chunking) == whole, chunking


@settings(max_examples=300, deadline=None)
@given(stream=st.binary(max_size=3000), seed=st.integers(0, 1 << 30))
def test_any_bytes_in_data(stream: bytes, seed: int) -> None:
    """The contents end at CRLF.CRLF and nowhere else, and what is stored has lines and dots in wire form."""
    chance = random.Random(seed)
    stream = bytes(chance.choice((byte, 13, 10, 46)) for byte in stream)
    wire = BareWire(LABS["normalize"].session(), lambda data: cut(data, "random", seed))
    wire.send(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<u@relay.example>\r\nDATA\r\n")
    wire.send(stream)
    end = (b"\r\n" + stream).find(b"\r\n.\r\n")
    assert bool(wire.messages) == (end >= 0)
    if end < 0:
        wire.send(b"\r\n.\r\n")
    header, body = wire.messages[0][2]
    stored = header + body
    assert b"\r\n.\r\n" not in stored and not stored.startswith(b".\r\n")
    assert stored.replace(b"\r\n", b"").count(b"\r") == stored.replace(b"\r\n", b"").count(b"\n") == 0
    assert stored.endswith(b"\r\n")


@settings(max_examples=200, deadline=None)
@given(line=st.binary(max_size=400))
def test_any_line_gets_a_reply(line: bytes) -> None:
    for verb in (b"", b"MAIL FROM:", b"RCPT TO:<", b"EHLO ", b"VRFY ", b"MAIL FROM:<a@b.example> ", b"BDAT "):
        wire = BareWire(LABS["normalize"].session(), lambda data: [data])
        wire.send(b"EHLO c\r\n")
        wire.lines(11)
        wire.send(verb + line.replace(b"\n", b"") + b"\r\n")
        said = wire.lines(100)
        assert said or b"BDAT" in verb
        assert all(REPLY.fullmatch(reply) for reply in said), said
