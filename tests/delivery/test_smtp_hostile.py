"""Hostile remote servers: reliability.md table O, each with the outcome it requires.

One report a delivery and one release a slot are checked by support.smtp_delivery for every test.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from fastrelay.borders import Flag, Outcome, Status
from support.dns_server import DnsServer
from support.smtp_delivery import BODY, Conversation, Lab, ScriptedServer, make_delivery

SENT, DEFERRED, BOUNCED = Status.SENT, Status.DEFERRED, Status.BOUNCED
Script = Callable[[Conversation], Awaitable[None]]


def try_one(
    script: Callable[[ScriptedServer], Script] | Script,
    *recipients: bytes,
    flags: int = 0,
    size: int = 0,
    body: bytes = BODY,
    **settings: Any,
) -> tuple[list[Outcome], ScriptedServer, Lab]:
    """One delivery to one scripted server."""

    async def main() -> tuple[list[Outcome], ScriptedServer, Lab]:
        async with ScriptedServer() as server:
            made = script(server) if script.__name__ == "<lambda>" else script  # type: ignore[attr-defined]
            server.scripts = (made,)  # type: ignore[assignment]
            lab = Lab(**settings)
            delivery = make_delivery(server.next_hop, *recipients, flags=flags, size=size, content=(body,))
            outcomes = await lab.deliver(delivery)
            await lab.close()
            return outcomes, server, lab

    return uvloop.run(main())


def verdict(outcomes: list[Outcome], *words: bytes) -> tuple[Status, bytes]:
    """Of the one recipient; its text has these words."""
    (outcome,) = outcomes
    assert [word for word in words if word not in outcome.text] == [], outcome
    return outcome.status, outcome.dsn


async def silent(talk: Conversation) -> None:
    await asyncio.sleep(3600)


async def trickle(talk: Conversation) -> None:
    talk.writer.write(b"220 ")
    while True:
        talk.writer.write(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("script", [silent, trickle])
def test_o01_silent_or_trickled_greeting(script: Script):
    """The server would go on for ever: that there is an outcome is the deadline's doing."""
    outcomes, _, lab = try_one(script, smtp_helo_timeout=0.4)
    assert verdict(outcomes, b"timed out while receiving the initial server greeting") == (DEFERRED, b"4.4.2")
    assert len(lab.queue.failures) == 1


def test_o01_trickled_reply_has_a_total_deadline_too():
    async def script(talk: Conversation) -> None:
        await talk.greet(b"PIPELINING")
        await talk.line()
        while True:
            talk.writer.write(b"250-more\r\n")
            await asyncio.sleep(0.02)

    outcomes, _, _ = try_one(script, smtp_mail_timeout=0.4)
    assert verdict(outcomes, b"timed out while sending MAIL FROM") == (DEFERRED, b"4.4.2")


@pytest.mark.parametrize(
    ("banner", "dsn"),
    [(b"421 4.3.2 busy", b"4.3.2"), (b"554 5.7.1 go away", b"4.7.1"), (b"554 no", b"4.0.0")],
)
def test_o02_refusing_greeting_defers(banner: bytes, dsn: bytes):
    async def script(talk: Conversation) -> None:
        await talk.say(banner)

    outcomes, _, _ = try_one(script)
    assert verdict(outcomes, b"refused to talk to me: " + banner) == (DEFERRED, dsn)


def test_o02_5xx_greeting_bounces_when_told_so():
    async def script(talk: Conversation) -> None:
        await talk.say(b"554 5.7.1 go away")

    outcomes, _, _ = try_one(script, smtp_skip_5xx_greeting=False)
    assert verdict(outcomes) == (BOUNCED, b"5.7.1")


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2", b"HTTP/1.1 400 Bad Request", b"\x00\x01\x02\xff"])
def test_o03_not_smtp(banner: bytes):
    async def script(talk: Conversation) -> None:
        await talk.say(banner)
        await silent(talk)

    outcomes, _, _ = try_one(script, smtp_helo_timeout=0.3)
    assert verdict(outcomes) == (DEFERRED, b"4.4.2")


async def endless_greeting(talk: Conversation) -> None:
    while True:
        await talk.say(*[b"220-hello"] * 100)


async def long_greeting(talk: Conversation) -> None:
    await talk.say(b"220 " + b"x" * 5_000_000)


async def rather_long_greeting(talk: Conversation) -> None:
    await talk.say(b"220 " + b"x" * 3000)


async def endless_reply(talk: Conversation) -> None:
    await talk.greet(b"PIPELINING")
    while True:
        await talk.say(*[b"250-hello"] * 100)


async def long_reply(talk: Conversation) -> None:
    await talk.greet(b"PIPELINING")
    await talk.say(b"250 " + b"x" * 5_000_000)


@pytest.mark.parametrize(
    "script", [endless_greeting, long_greeting, rather_long_greeting, endless_reply, long_reply]
)
def test_o04_endless_replies(script: Script):
    """A protocol error long before any deadline."""
    outcomes, _, _ = try_one(script)
    assert verdict(outcomes) == (DEFERRED, b"4.5.0")


def test_o04_of_a_long_reply_as_much_is_kept_as_postfix_keeps():
    """Whole lines up to line_length_limit: each recipient's verdict holds them, in memory and in the queue."""
    long = b"".join(b"550-5.1.1 line %d %b\r\n" % (n, b"x" * 900) for n in range(99)) + b"550 5.1.1 end"
    people = [b"u%d@x.test" % n for n in range(3)]
    outcomes, _, _ = try_one(
        lambda s: s.obliging(answer=lambda c: long if c[:4] == b"RCPT" else None), *people
    )
    assert [(outcome.status, outcome.dsn) for outcome in outcomes] == [(BOUNCED, b"5.1.1")] * 3
    assert all(b"line 0 x" in o.text and b"line 2 x" in o.text and b"line 3" not in o.text for o in outcomes)
    assert all(len(o.text) < 3000 and len(o.diagnostic) < 3000 for o in outcomes)


def test_o05_close_after_the_dot():
    outcomes, server, _ = try_one(lambda s: s.obliging(answer=lambda c: b"" if c == b"." else None))
    assert verdict(outcomes, b"lost connection with 127.0.0.1[127.0.0.1] while sending end of data") == (
        DEFERRED,
        b"4.4.2",
    )
    assert b"-- message may be sent more than once" in outcomes[0].text
    assert server.connections == 1


def test_o06_no_answer_after_the_dot():
    async def script(talk: Conversation) -> None:
        await talk.greet(b"PIPELINING")
        for reply in (b"250 ok", b"250 ok", b"354 go"):
            await talk.line()
            await talk.say(reply)
        await talk.content()
        await silent(talk)

    outcomes, _, _ = try_one(script, smtp_data_done_timeout=0.3)
    assert verdict(
        outcomes,
        b"conversation with 127.0.0.1[127.0.0.1] timed out while sending end of data"
        b" -- message may be sent more than once",
    ) == (DEFERRED, b"4.4.2")


@pytest.mark.parametrize("features", [(b"PIPELINING",), (b"SIZE",)])
@pytest.mark.parametrize(
    ("command", "reply", "status", "dsn", "request_name"),
    [
        (b"MAIL", b"450 4.7.1 later", DEFERRED, b"4.7.1", b"MAIL FROM command"),
        (b"MAIL", b"550 no", BOUNCED, b"5.0.0", b"MAIL FROM command"),
        (b"RCPT", b"450 4.2.1 busy", DEFERRED, b"4.2.1", b"RCPT TO command"),
        (b"RCPT", b"550 5.1.1 unknown", BOUNCED, b"5.1.1", b"RCPT TO command"),
        (b"RCPT", b"552 5.2.2 full", BOUNCED, b"5.2.2", b"RCPT TO command"),  # O08: as Postfix
        (b"DATA", b"451 4.3.0 no", DEFERRED, b"4.3.0", b"DATA command"),
        (b"DATA", b"554 5.5.1 no", BOUNCED, b"5.5.1", b"DATA command"),
        (b".", b"451 4.3.0 disk", DEFERRED, b"4.3.0", b"end of DATA command"),
        (b".", b"554 5.6.0 spam", BOUNCED, b"5.6.0", b"end of DATA command"),
        (b"RCPT", b"550 4.1.1 inconsistent", BOUNCED, b"5.0.0", b"RCPT TO command"),
    ],
)
def test_o07_o08_o11_refusals(
    features: tuple[bytes, ...],
    command: bytes,
    reply: bytes,
    status: Status,
    dsn: bytes,
    request_name: bytes,
):
    outcomes, server, _ = try_one(
        lambda s: s.obliging(*features, answer=lambda c: reply if c.startswith(command) else None)
    )
    assert verdict(outcomes) == (status, dsn)
    assert outcomes[0].text == (
        b"host 127.0.0.1[127.0.0.1] said: " + reply + b" (in reply to " + request_name + b")"
    )
    assert outcomes[0].diagnostic == reply
    assert outcomes[0].relay == b"127.0.0.1[127.0.0.1]:%d" % server.port
    assert not server.messages


@pytest.mark.parametrize("command", [b"MAIL", b"RCPT", b"DATA", b"."])
def test_o09_421_at_every_stage(command: bytes):
    outcomes, server, _ = try_one(
        lambda s: s.obliging(answer=lambda c: b"421 4.3.2 bye" if c.startswith(command) else None)
    )
    assert verdict(outcomes, b"said: 421 4.3.2 bye") == (DEFERRED, b"4.3.2")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"DATA", b"250 ok"),
        (b"RCPT", b"354 go"),
        (b"MAIL", b"354 go"),
        (b".", b"354 go"),
        (b"RCPT", b"25 ok"),
        (b"RCPT", b"2500 ok"),
        (b"RCPT", b"ok"),
        (b"MAIL", b"999 what"),
        (b".", b"150 what"),
        (b".", b""" 250 ok"""),
    ],
)
def test_o10_wrong_class_is_a_protocol_error(command: bytes, reply: bytes):
    outcomes, server, lab = try_one(
        lambda s: s.obliging(answer=lambda c: reply if c.startswith(command) else None)
    )
    assert verdict(outcomes, b"protocol error") == (DEFERRED, b"4.5.0")
    assert server.connections == 1
    assert len(lab.queue.failures) == 1


def test_o12_success_by_first_digit():
    outcomes, _, _ = try_one(lambda s: s.obliging(answer=lambda c: b"250 5.1.1 odd" if c == b"." else None))
    assert verdict(outcomes, b"250 5.1.1 odd") == (SENT, b"2.0.0")


def test_o13_control_bytes_in_a_reply():
    outcomes, _, _ = try_one(
        lambda s: s.obliging(
            answer=lambda c: b"550 5.1.1 \x00\x1b[31mno\xff\x7f" if c[:4] == b"RCPT" else None
        )
    )
    assert verdict(outcomes) == (BOUNCED, b"5.1.1")
    assert all(32 <= byte <= 126 for byte in outcomes[0].text + outcomes[0].diagnostic)


ALL_REPLIES = (b"250-mx\r\n250 PIPELINING", b"250 ok", b"250 ok", b"354 go", b"250 2.0.0 fake ok")


@pytest.mark.parametrize("greeted", [0, 1, 2])
def test_o14_replies_before_commands_are_never_success(greeted: int):
    async def script(talk: Conversation) -> None:
        if greeted == 0:
            await talk.say(b"220 mx ESMTP", *ALL_REPLIES)
        elif greeted == 1:
            await talk.say(b"220 mx ESMTP")
            await talk.line()
            await talk.say(*ALL_REPLIES)
        else:
            await talk.greet(b"PIPELINING")
            await talk.line()
            await talk.say(*ALL_REPLIES[1:])
        await silent(talk)

    outcomes, _, _ = try_one(script)
    assert outcomes[0].status is DEFERRED
    assert outcomes[0].dsn == b"4.5.0"


def test_o16_refused_and_reset():
    async def main() -> None:
        async with ScriptedServer(silent) as server:
            next_hop, port = server.next_hop, server.port
        lab = Lab()
        outcomes = await lab.deliver(make_delivery(next_hop))
        assert verdict(outcomes) == (DEFERRED, b"4.4.1")
        assert outcomes[0].text == b"connect to 127.0.0.1[127.0.0.1]:%d: Connection refused" % port
        assert outcomes[0].relay == b"none"
        assert lab.queue.failures[0].text == outcomes[0].text
        await lab.close()

    uvloop.run(main())

    async def reset(talk: Conversation) -> None:
        sock = talk.writer.get_extra_info("socket")
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: close() sends RST
        talk.writer.transport.abort()

    outcomes, _, _ = try_one(reset)
    assert verdict(outcomes, b"lost connection with", b"receiving the initial server greeting") == (
        DEFERRED,
        b"4.4.2",
    )


@pytest.mark.parametrize("where", ["greeting", "ehlo"])
def test_o17_own_name(where: str):
    async def main() -> None:
        async with ScriptedServer() as server:
            greeting = b"220 relay.test ESMTP" if where == "greeting" else b"220 mx.test ESMTP"

            async def script(talk: Conversation) -> None:
                await talk.say(greeting)
                await talk.line()
                await talk.say(b"250-relay.test", b"250 PIPELINING")
                await talk.line()

            server.scripts = (script,)
            lab = Lab(smtp_tcp_port=str(server.port))
            outcomes = await lab.deliver(make_delivery(server.next_hop))
            assert verdict(outcomes, b"loops back to myself") == (BOUNCED, b"5.4.6")
            await lab.close()

    uvloop.run(main())


def test_o18_size_limit():
    outcomes, server, _ = try_one(lambda s: s.obliging(b"PIPELINING", b"SIZE 1000"), size=1001)
    assert verdict(outcomes) == (BOUNCED, b"5.3.4")
    text = b"message size 1001 exceeds size limit 1000 of server 127.0.0.1[127.0.0.1]"
    assert outcomes[0].text == text
    assert not [c for c in server.commands if c.startswith(b"MAIL")]


def test_o18_no_8bitmime():
    flags = Flag.EIGHT_BIT_BODY
    outcomes, _, _ = try_one(lambda s: s.obliging(b"PIPELINING"), flags=flags)
    assert verdict(outcomes) == (BOUNCED, b"5.6.3")
    outcomes, server, _ = try_one(
        lambda s: s.obliging(b"PIPELINING"), flags=flags, disable_mime_output_conversion=True
    )
    assert verdict(outcomes) == (SENT, b"2.0.0")
    assert b"BODY=" not in server.commands[0]


def test_o18_no_smtputf8():
    outcomes, _, _ = try_one(
        lambda s: s.obliging(b"PIPELINING", b"8BITMIME"), "jürgen@there.test".encode(), flags=Flag.SMTPUTF8
    )
    assert verdict(outcomes, b"SMTPUTF8 is required, but was not offered by host") == (BOUNCED, b"5.6.7")
    outcomes, server, _ = try_one(lambda s: s.obliging(b"PIPELINING"), flags=Flag.SMTPUTF8)
    assert verdict(outcomes) == (SENT, b"2.0.0")  # asked for, not needed
    assert b"SMTPUTF8" not in server.commands[0]


def test_o18_no_esmtp_at_all():
    async def script(talk: Conversation) -> None:
        await talk.say(b"220 mx.test")
        assert (await talk.line()).startswith(b"EHLO")
        await talk.say(b"500 what?")
        assert (await talk.line()).startswith(b"HELO")
        await talk.say(b"250 hello")
        for reply in (b"250 ok", b"250 ok", b"354 go"):
            await talk.line()
            assert not talk.reader._buffer  # type: ignore[attr-defined]  # one command at a time
            await talk.say(reply)
        await talk.content()
        await talk.say(b"250 ok")
        await talk.line()

    outcomes, _, _ = try_one(script)
    assert verdict(outcomes) == (SENT, b"2.0.0")


def test_o18_pipelining_lie_is_tolerated():
    """Says PIPELINING, but reads and answers slowly one by one."""

    async def script(talk: Conversation) -> None:
        await talk.greet(b"PIPELINING")
        for reply in (b"250 ok", b"250 ok", b"354 go"):
            await talk.line()
            await asyncio.sleep(0.05)
            for byte in reply + b"\r\n":
                talk.writer.write(bytes((byte,)))
                await asyncio.sleep(0.001)
        await talk.content()
        await talk.say(b"250 ok")

    outcomes, _, _ = try_one(script)
    assert verdict(outcomes) == (SENT, b"2.0.0")


def test_o19_mixed_recipients_and_a_lost_connection():
    def answer(command: bytes) -> bytes | None:
        if command.startswith(b"RCPT TO:<bad"):
            return b"550 5.1.1 no"
        if command.startswith(b"RCPT TO:<busy"):
            return b"450 4.2.1 busy"
        return b"" if command == b"." else None

    people = (b"good1@x.test", b"bad@x.test", b"busy@x.test", b"good2@x.test")
    outcomes, _, _ = try_one(lambda s: s.obliging(answer=answer), *people)
    assert [o.status for o in outcomes] == [DEFERRED, BOUNCED, DEFERRED, DEFERRED]
    assert [o.dsn for o in outcomes] == [b"4.4.2", b"5.1.1", b"4.2.1", b"4.4.2"]

    def answer_and_stay(command: bytes) -> bytes | None:
        return None if command == b"." else answer(command)

    outcomes, server, _ = try_one(lambda s: s.obliging(answer=answer_and_stay), *people)
    assert [o.status for o in outcomes] == [SENT, BOUNCED, DEFERRED, SENT]
    assert len(server.messages[0][1]) == 2


def test_o20_through_dns():
    zone = {
        "null.test": ["MX 0 ."],
        "broken.test": "SERVFAIL",
        "evil.test": ["MX 5 l.test."],
        "l.test": ["A 127.0.0.1"],
    }

    async def main() -> list[tuple[Status, bytes]]:
        async with DnsServer(zone) as dns:
            lab = Lab(
                {"fastrelay_dns_servers": (dns.address,), "fastrelay_mx_forbidden_networks": ("127.0.0.0/8",)}
            )
            found = []
            for domain in (b"null.test", b"gone.test", b"broken.test", b"evil.test"):
                outcomes = await lab.deliver(make_delivery(domain, b"user@" + domain))
                found.append((outcomes[0].status, outcomes[0].dsn))
            await lab.close()
            return found

    assert uvloop.run(main()) == [
        (BOUNCED, b"5.1.0"),
        (BOUNCED, b"5.4.4"),
        (DEFERRED, b"4.4.3"),
        (BOUNCED, b"5.4.4"),
    ]


FULL = (
    b"220 mx.test ESMTP\r\n",
    b"250-mx.test\r\n250 PIPELINING\r\n",
    b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
    b"250 ok\r\n",
)


@pytest.mark.parametrize("cut", range(0, len(b"".join(FULL)), 3))
def test_cut_in_every_stage(cut: int):
    """The server's side of a good conversation ends after `cut` bytes."""

    async def script(talk: Conversation) -> None:
        left = cut
        for part, wait in zip(FULL, (b"", b"EHLO", b"DATA", b"."), strict=True):
            if wait == b".":
                await talk.content()
            while wait not in (b"", b".") and not (await talk.line()).startswith(wait):
                pass
            talk.writer.write(part[:left])
            await talk.writer.drain()
            left -= len(part)
            if left <= 0:
                return

    outcomes, _, _ = try_one(script, b"a@x.test", b"b@x.test")
    assert [o.status for o in outcomes] == [DEFERRED, DEFERRED]
    assert {o.dsn for o in outcomes} == {b"4.4.2"}, outcomes[0]
    content_went = cut >= len(b"".join(FULL[:3]))
    assert (b"more than once" in outcomes[0].text) == content_went
