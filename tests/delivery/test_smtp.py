"""The SMTP delivery agent in good order: wire form, reuse, fail-over, caching, limits.

The file is long because each test holds the whole conversation that it expects, beside what it asserts.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import re
import socket
import subprocess
from typing import Any

import pytest
import uvloop

from fastrelay.borders import Delivery, Flag, Notify, Status
from fastrelay.delivery import _dialogue, _replies, _transaction
from support.dns_server import DnsServer
from support.ports import free_port
from support.relay import PATIENCE, answers, until
from support.smtp_delivery import (
    BODY,
    Conversation,
    Destination,
    Lab,
    ScriptedServer,
    eventually,
    make_delivery,
)

COUNTED = (_dialogue, _replies, _transaction)
SENT, DEFERRED, BOUNCED = Status.SENT, Status.DEFERRED, Status.BOUNCED
ALL_FEATURES = (b"PIPELINING", b"SIZE 0", b"8BITMIME", b"DSN", b"SMTPUTF8")


@pytest.fixture(autouse=True)
def no_objects_left():
    """Counts only in a debug build."""
    before = [module.live_objects() for module in COUNTED]
    yield
    gc.collect()
    assert all(module.live_objects() <= count for module, count in zip(COUNTED, before, strict=True))


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
@pytest.mark.parametrize("features", [ALL_FEATURES, (b"SIZE",)])
def test_contents_arrive_as_stored_and_the_outcome_says_so(loop: Any, features: tuple[bytes, ...]):
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(*features),)
            lab = Lab()
            (outcome,) = await lab.deliver(make_delivery(server.next_hop))
            assert (outcome.status, outcome.dsn, outcome.text) == (
                SENT,
                b"2.0.0",
                b"250 2.0.0 Ok: queued as X",
            )
            assert outcome.relay == b"127.0.0.1[127.0.0.1]:%d" % server.port
            assert 0 < outcome.setup_delay < PATIENCE
            assert 0 < outcome.transmission_delay < PATIENCE
            assert server.messages[0][2] == BODY
            assert lab.queue.successes == 1
            await lab.close()

    loop(main())


def commands_for(delivery: Delivery, features: tuple[bytes, ...]) -> list[bytes]:
    async def main() -> list[bytes]:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(*features),)
            lab = Lab()
            delivery.next_hop = server.next_hop
            assert {o.status for o in await lab.deliver(delivery)} == {SENT}
            await lab.close()
            return server.commands

    return uvloop.run(main())


def test_esmtp_parameters():
    flags = Flag.EIGHT_BIT_BODY | Flag.BODY_8BITMIME | Flag.SMTPUTF8 | Flag.RET_HDRS
    delivery = make_delivery(
        b"", b"a@x.test", b"b+c@x.test", b"d@x.test", flags=flags, size=77, envid=b"QQ+2B1"
    )
    first, second, _ = delivery.message.envelope.recipients
    first.orcpt, first.notify = b"rfc822;orig@x.test", Notify.SUCCESS | Notify.FAILURE
    second.original, second.notify = b"b+c@old.test", Notify.NEVER
    commands = commands_for(delivery, ALL_FEATURES)
    assert commands[:4] == [
        b"MAIL FROM:<sender@here.test> SIZE=77 BODY=8BITMIME ENVID=QQ+2B1 RET=HDRS SMTPUTF8",
        b"RCPT TO:<a@x.test> ORCPT=rfc822;orig@x.test NOTIFY=SUCCESS,FAILURE",
        b"RCPT TO:<b+c@x.test> ORCPT=rfc822;b+2Bc@old.test NOTIFY=NEVER",
        b"RCPT TO:<d@x.test>",
    ]
    plain = commands_for(make_delivery(b"", flags=Flag.BODY_7BIT, sender=b"", size=9), (b"PIPELINING",))
    assert plain[0] == b"MAIL FROM:<>"
    assert commands_for(make_delivery(b"", flags=Flag.BODY_7BIT), (b"8BITMIME",))[0].endswith(b" BODY=7BIT")


def test_discarded_keywords():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(*ALL_FEATURES),)
            lab = Lab(smtp_discard_ehlo_keywords=("size", "DSN"))
            await lab.deliver(make_delivery(server.next_hop))
            assert b"SIZE" not in server.commands[0]
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize("limit", [998, 0])
def test_long_lines_are_folded_only_where_flagged(limit: int):
    body = b"Subject: x\r\n\r\n" + b"a" * 2500 + b"\r\n." + b"." * 999 + b"\r\nend\r\n"

    async def send(flags: int) -> bytes:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab(smtp_line_length_limit=limit)
            pieces = (body[:700], body[700:2600], body[2600:])
            await lab.deliver(make_delivery(server.next_hop, content=pieces, flags=flags))
            await lab.close()
            return server.messages[0][2]

    assert uvloop.run(send(0)) == body
    folded = uvloop.run(send(Flag.LONG_LINES))
    if limit == 0:
        assert folded == body
        return
    lines = folded.split(b"\r\n")
    assert max(len(line) - line.startswith(b".") for line in lines) == 998
    assert folded.replace(b"\r\n ", b"") == body


@pytest.mark.parametrize("pieces", [1, 7])
def test_large_contents_with_flow_control(pieces: int):
    """The server reads nothing for a while: the transport's buffer stays bounded."""
    body = b"Subject: big\r\n\r\n" + (b"z" * 70 + b"\r\n") * 60_000
    step = len(body) // pieces + 1
    highest = 0

    async def main() -> None:
        nonlocal highest

        async def script(talk: Conversation) -> None:
            await talk.greet(b"PIPELINING")
            for reply in (b"250 ok", b"250 ok", b"354 go"):
                await talk.line()
                await talk.say(reply)
            await asyncio.sleep(0.3)
            assert await talk.content() == body
            await talk.say(b"250 2.0.0 ok")

        async with ScriptedServer(script) as server:
            lab = Lab()
            content = [memoryview(body)[i : i + step] for i in range(0, len(body), step)]
            sending = asyncio.create_task(lab.deliver(make_delivery(server.next_hop, content=content)))  # type: ignore[arg-type]
            while not sending.done():
                for dialogue in lab.agent._sessions:
                    highest = max(highest, dialogue.transport.get_write_buffer_size())
                await asyncio.sleep(0.01)
            assert sending.result()[0].status is SENT
            await lab.close()

    uvloop.run(main())
    assert highest < 500_000


def test_a_server_that_does_not_read_times_out():
    async def script(talk: Conversation) -> None:
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await talk.greet(b"PIPELINING")
        for reply in (b"250 ok", b"250 ok", b"354 go"):
            await talk.line()
            await talk.say(reply)
        await asyncio.sleep(3600)

    async def main() -> None:
        async with ScriptedServer(script) as server:
            lab = Lab(smtp_data_xfer_timeout=0.4)
            (outcome,) = await lab.deliver(
                make_delivery(server.next_hop, content=[b"x" * 998 + b"\r\n"] * 20_000)
            )
            assert (outcome.status, outcome.dsn) == (DEFERRED, b"4.4.2")
            assert outcome.text.endswith(b"timed out while sending message body")
            await lab.close()

    uvloop.run(main())


def test_a_thousand_messages_over_few_connections_arrive_once():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab()
            wanted = [b"Subject: %d\r\n\r\n%d\r\n" % (i, i) for i in range(1000)]
            deliveries = [make_delivery(server.next_hop, content=(body,)) for body in wanted]

            class Shared(Destination):
                def release(self) -> None:
                    super().release()
                    if self.released < 5:
                        self.done.clear()

            queue = Shared(server.next_hop, deliveries)
            for _ in range(5):
                lab.agent.open_slot(queue)
            await asyncio.wait_for(queue.done.wait(), PATIENCE)
            assert queue.released == 5
            assert sorted(m[2] for m in server.messages) == sorted(wanted)
            assert len(lab.reports.all) == 1000
            assert {o.status for o in lab.reports.outcomes} == {SENT}
            assert server.connections == 5
            await lab.close()

    uvloop.run(main())


def test_one_write_and_one_read_a_message_on_a_busy_connection():
    async def main() -> None:
        reads: list[bytes] = []

        async def script(talk: Conversation) -> None:
            await talk.greet(b"PIPELINING")
            waiting = 0
            while True:
                data = await talk.reader.read(65536)
                if not data:
                    return
                reads.append(data)
                out = b""
                if b"\r\n.\r\n" in data:
                    out += b"250 2.0.0 ok\r\n"
                    waiting += 1
                if b"\nDATA\r\n" in data:
                    out += b"250 ok\r\n250 ok\r\n354 go\r\n"
                talk.writer.write(out)

        async with ScriptedServer(script) as server:
            lab = Lab()
            await lab.deliver(*[make_delivery(server.next_hop) for _ in range(50)])
            full = [r for r in reads if r.count(b"MAIL FROM") == 1 and b"\r\n.\r\nMAIL" in r]
            assert len(full) >= 47
            assert len(reads) <= 53
            await lab.close()

    uvloop.run(main())


def test_refused_recipients_send_no_contents_and_the_connection_goes_on():
    def answer(command: bytes) -> bytes | None:
        return b"550 5.1.1 no" if command.startswith(b"RCPT TO:<no") else None

    for features in (ALL_FEATURES, (b"SIZE",)):

        async def main(features: tuple[bytes, ...] = features) -> None:
            async with ScriptedServer() as server:
                server.scripts = (server.obliging(*features, answer=answer),)
                lab = Lab()
                hop = server.next_hop
                outcomes = await lab.deliver(
                    make_delivery(hop, b"no@x.test"), make_delivery(hop), make_delivery(hop, b"no2@x.test")
                )
                assert [o.status for o in outcomes] == [BOUNCED, SENT, BOUNCED]
                assert len(server.messages) == server.connections == 1
                assert b"RSET" in server.commands
                await lab.close()

        uvloop.run(main())


def test_354_without_recipients_gets_a_lone_dot():
    async def main() -> None:
        contents = []

        async def script(talk: Conversation) -> None:
            await talk.greet(b"PIPELINING")
            for recipients in (b"550 5.1.1 no", b"250 ok"):
                for reply in (b"250 ok", recipients, b"354 go"):
                    await talk.line()
                    await talk.say(reply)
                contents.append(await talk.content())
                await talk.say(b"250 odd" if recipients[:1] == b"5" else b"250 2.0.0 fine")

        async with ScriptedServer(script) as server:
            lab = Lab()
            outcomes = await lab.deliver(make_delivery(server.next_hop), make_delivery(server.next_hop))
            assert [o.status for o in outcomes] == [BOUNCED, SENT]
            assert contents == [b"", BODY]
            await lab.close()

    uvloop.run(main())


def test_cached_connection_is_used_at_once_and_closed_when_idle():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab()
            await lab.deliver(make_delivery(server.next_hop))
            tasks = asyncio.all_tasks()
            queue = Destination(server.next_hop, [make_delivery(server.next_hop)])
            lab.agent.open_slot(queue)
            assert asyncio.all_tasks() == tasks  # no task, no coroutine on this path
            await asyncio.wait_for(queue.done.wait(), PATIENCE)
            assert server.connections == 1
            await lab.close()
            lab = Lab(smtp_connection_cache_time_limit=0.2)
            await lab.deliver(make_delivery(server.next_hop))
            await eventually(
                lambda: server.commands.count(b"QUIT") == 2
            )  # the first lab's, and the idle one's
            await lab.deliver(make_delivery(server.next_hop))
            assert server.connections == 3
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize(
    "settings",
    [
        {"smtp_connection_cache_time_limit": 0.0},
        {"smtp_connection_cache_on_demand": False},
        {"smtp_connection_reuse_count_limit": 1},
    ],
)
def test_without_cache_each_slot_connects(settings: dict[str, Any]):
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab(**settings)
            for _ in range(3):
                await lab.deliver(make_delivery(server.next_hop))
            assert server.connections == 3
            await lab.close()

    uvloop.run(main())


def test_reuse_ends_by_time_and_the_slot_goes_on():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab(smtp_connection_reuse_time_limit=0.0)
            outcomes = await lab.deliver(*[make_delivery(server.next_hop) for _ in range(4)])
            assert [o.status for o in outcomes] == [SENT] * 4
            assert server.connections == 4
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize("bye", [b"", b"421 4.4.2 idle too long\r\n", b"250 hello?\r\n"])
def test_idle_connection_that_ends_is_replaced_unseen(bye: bytes):
    async def main() -> None:
        delivered = asyncio.Event()
        async with ScriptedServer() as server:

            async def once(talk: Conversation) -> None:
                await talk.greet(b"PIPELINING")
                for reply in (b"250 ok", b"250 ok", b"354 go"):
                    await talk.line()
                    await talk.say(reply)
                await talk.content()
                await talk.say(b"250 2.0.0 ok")
                await delivered.wait()
                talk.writer.write(bye)

            server.scripts = (once, server.obliging())
            lab = Lab()
            await lab.deliver(make_delivery(server.next_hop))
            delivered.set()
            await eventually(lambda: not lab.agent._sessions)
            (outcome,) = await lab.deliver(make_delivery(server.next_hop))
            assert outcome.status is SENT
            assert server.connections == 2
            assert not lab.queue.failures
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize("refusal", [b"", b"421 4.7.0 enough messages"])
@pytest.mark.parametrize("stage", [b"MAIL", b"RCPT", b"DATA"])
def test_a_reused_connection_that_dies_under_a_message_is_retried_on_a_new_one(refusal: bytes, stage: bytes):
    async def main() -> None:
        async with ScriptedServer() as server:
            seen = [0]

            def answer(command: bytes) -> bytes | None:
                if command.startswith(stage):
                    seen[0] += 1
                    if seen[0] % 3 == 0:  # never the first of its connection
                        return refusal
                return None

            server.scripts = (server.obliging(answer=answer),)
            lab = Lab()
            people = (b"a@x.test",)
            outcomes = await lab.deliver(*[make_delivery(server.next_hop, *people) for _ in range(10)])
            assert [o.status for o in outcomes] == [SENT] * 10
            assert len(server.messages) == 10
            assert server.connections > 2
            assert not lab.queue.failures
            await lab.close()

    uvloop.run(main())


def two_servers(settings: dict[str, Any], first: Any, *, deliveries: int = 1) -> Any:
    """mx1 on 127.0.0.1, mx2 on 127.0.0.2, one port; `first` is mx1's answer()."""

    async def main() -> Any:
        async with ScriptedServer(port=free_port()) as one:
            two = ScriptedServer(host="127.0.0.2")
            two.server = await asyncio.start_server(two._serve, "127.0.0.2", one.port)
            two.port = one.port
            zone = {
                "x.test": ["MX 10 mx1.x.test.", "MX 20 mx2.x.test."],
                "mx1.x.test": ["A 127.0.0.1"],
                "mx2.x.test": ["A 127.0.0.2"],
            }
            one.scripts = (first(one),)
            two.scripts = (two.obliging(),)
            async with DnsServer(zone) as dns:
                lab = Lab({"fastrelay_dns_servers": (dns.address,)}, **settings)
                hop = b"x.test:%d" % one.port
                made = [make_delivery(hop, b"busy@x.test", b"ok@x.test") for _ in range(deliveries)]
                outcomes = await lab.deliver(*made)
                await lab.close()
            two.server.close()
            return outcomes, one, two, lab

    return uvloop.run(main())


def refusing(command: bytes, reply: bytes) -> Any:
    return lambda server: server.obliging(answer=lambda c: reply if c.startswith(command) else None)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"MAIL", b"450 later"),
        (b"DATA", b"450 later"),
        (b".", b"450 later"),
        (b"MAIL", b""),
        (b"RCPT", b"421 x"),
    ],
)
def test_fail_over_to_the_next_mail_exchanger(command: bytes, reply: bytes):
    outcomes, one, two, lab = two_servers({}, refusing(command, reply))
    assert [o.status for o in outcomes] == [SENT, SENT]
    assert outcomes[0].relay == b"mx2.x.test[127.0.0.2]:%d" % one.port
    assert len(two.messages) == 1
    assert not one.messages
    assert lab.queue.released == 1


def test_fail_over_takes_only_the_recipients_that_need_it():
    outcomes, one, two, _ = two_servers({}, refusing(b"RCPT TO:<busy", b"450 4.2.1 busy"), deliveries=3)
    assert [o.status for o in outcomes] == [SENT] * 6
    assert [len(m[1]) for m in one.messages] == [1, 1, 1]
    assert [m[1] for m in two.messages] == [[b"RCPT TO:<busy@x.test>"]] * 3


def test_no_fail_over_once_the_message_may_have_arrived():
    outcomes, _, two, _ = two_servers({}, refusing(b".", b""))
    assert [o.status for o in outcomes] == [DEFERRED, DEFERRED]
    assert b"more than once" in outcomes[0].text
    assert not two.connections


def test_session_limit():
    outcomes, _, two, _ = two_servers({"smtp_mx_session_limit": 1}, refusing(b"MAIL", b"450 4.1.0 later"))
    assert [o.status for o in outcomes] == [DEFERRED, DEFERRED]
    assert not two.connections


def test_5xx_is_final_at_the_first_server():
    outcomes, _, two, _ = two_servers({}, refusing(b"MAIL", b"550 5.7.1 no"))
    assert [o.dsn for o in outcomes] == [b"5.7.1", b"5.7.1"]
    assert not two.connections


def test_greeting_fail_over_and_the_log_says_why():
    def first(server: ScriptedServer) -> Any:
        async def script(talk: Conversation) -> None:
            await talk.say(b"554 5.3.2 closed")

        return script

    outcomes, _, _, lab = two_servers({}, first)
    assert [o.status for o in outcomes] == [SENT, SENT]
    assert lab.log == [b"host mx1.x.test[127.0.0.1] refused to talk to me: 554 5.3.2 closed"]


def test_connection_limit_makes_slots_wait():
    async def main() -> None:
        async with ScriptedServer() as one, ScriptedServer() as two:
            one.scripts, two.scripts = (one.obliging(),), (two.obliging(),)
            lab = Lab(fastrelay_smtp_connection_limit=1)
            queues = [Destination(s.next_hop, [make_delivery(s.next_hop)]) for s in (one, two, one, two)]
            for queue in queues:
                lab.agent.open_slot(queue)
            assert len(lab.agent._sessions) + lab.agent._opening <= 1
            for queue in queues:
                await asyncio.wait_for(queue.done.wait(), PATIENCE)
                assert queue.released == 1
            assert len(one.messages) == len(two.messages) == 2
            await lab.close()

    uvloop.run(main())


def test_contents_that_cannot_be_read_defer_and_the_next_one_goes():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab()
            bad = make_delivery(server.next_hop, content=None)

            def load() -> list[bytes]:
                raise OSError(5, "Input/output error")

            bad.message.load = load
            good = make_delivery(server.next_hop)
            body, good.message.content = good.message.content, None
            good.message.load = lambda: body  # type: ignore[assignment,return-value]
            outcomes = await lab.deliver(bad, good)
            assert [(o.status, o.dsn) for o in outcomes] == [(DEFERRED, b"4.3.0"), (SENT, b"2.0.0")]
            assert b"Input/output error" in lab.log[0]
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize("enforce", [False, True])
def test_bind_address(enforce: bool):
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab(smtp_bind_address="127.0.0.9")
            await lab.deliver(make_delivery(server.next_hop))
            assert server.peers == ["127.0.0.9"]
            await lab.close()
            lab = Lab(smtp_bind_address="192.0.2.1", smtp_bind_address_enforce=enforce)
            (outcome,) = await lab.deliver(make_delivery(server.next_hop))
            assert outcome.status is (DEFERRED if enforce else SENT)
            assert b"Cannot assign requested address" in (outcome.text if enforce else lab.log[0])
            await lab.close()

    uvloop.run(main())


@pytest.mark.parametrize("lacking", ["socket", "dup"])
def test_without_descriptors_mail_is_deferred(lacking: str, monkeypatch: pytest.MonkeyPatch):
    """A slot that nobody gives back would keep its destination's mail until a restart."""

    def fail(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab()
            with monkeypatch.context() as patch:
                patch.setattr(socket if lacking == "socket" else os, lacking, fail)
                (outcome,) = await lab.deliver(make_delivery(server.next_hop))
            assert (outcome.status, outcome.dsn) == (DEFERRED, b"4.4.1")
            assert outcome.text.endswith(b": Too many open files")
            (outcome,) = await lab.deliver(make_delivery(server.next_hop))
            assert outcome.status is SENT
            await lab.close()

    uvloop.run(main())


def test_quit_waits_for_the_answer_when_told_so():
    async def main() -> None:
        async with ScriptedServer() as server:
            server.scripts = (server.obliging(),)
            lab = Lab(smtp_skip_quit_response=False)
            await lab.deliver(make_delivery(server.next_hop))
            await lab.close()
            assert server.commands[-1] == b"QUIT"

    uvloop.run(main())


def test_close_waits_for_the_busy_and_gives_up_when_cancelled():
    async def main() -> None:
        async def stuck(talk: Conversation) -> None:
            await talk.greet(b"PIPELINING")
            await asyncio.sleep(3600)

        async with ScriptedServer(stuck) as server:
            lab = Lab(smtp_mail_timeout=30.0)
            queue = Destination(server.next_hop, [make_delivery(server.next_hop)])
            lab.agent.open_slot(queue)
            await asyncio.sleep(0.1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lab.agent.close(), 0.2)
            assert not lab.reports.all  # still queued: the next start tries again

    uvloop.run(main())


def test_smtp_sink_of_postfix(tmp_path: Any):
    async def main() -> None:
        port = free_port()
        sink = subprocess.Popen(
            ["smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{port}", "100"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            hop = b"[127.0.0.1]:%d" % port
            until(lambda: answers(port))
            lab = Lab()
            outcomes = await lab.deliver(*[make_delivery(hop, b"a@x.test", b"b@x.test") for _ in range(200)])
            assert {o.status for o in outcomes} == {SENT}
            assert len(outcomes) == 400
            assert lab.log == []
            await lab.close()
        finally:
            sink.terminate()
            out, _ = sink.communicate(timeout=PATIENCE)
        assert re.search(rb"mesg=200\b|200", out)

    uvloop.run(main())
