"""The shell around the session, over real sockets: time, clients that go, waits, limits, the stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from smtpd_live import HELLO, run, serving, unsent_bytes

TIMED = {"smtpd_timeout": "100"}
TIMEOUT = b"421 4.4.2 mx.local.example Error: timeout exceeded\r\n"


def test_idle_client_is_told_and_closed() -> None:
    """H-G04."""

    async def test() -> None:
        async with serving(TIMED) as live:
            client = await live.greeted()
            for _ in range(3):
                live.pass_time(99)
                assert await client.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
            live.pass_time(102)
            assert await client.reply() == TIMEOUT
            assert await client.is_closed()
            await live.until(r"timeout after NOOP from unknown\[127\.0\.0\.1\]")
            await live.until(r"disconnect from unknown\[127\.0\.0\.1\] ehlo=1 noop=3 commands=4")

    run(test)


def test_a_command_byte_by_byte_has_one_deadline() -> None:
    """H-A37: a byte now and then does not keep the session alive; Postfix 3.7 gives each read its own time."""

    async def test() -> None:
        async with serving(TIMED) as live:
            client = await live.greeted()
            for byte in b"NOOP xxxxx":
                client.writer.write(bytes([byte]))
                await live.caught_up()
                live.pass_time(10)
            assert client.is_quiet
            live.pass_time(2)
            assert await client.reply() == TIMEOUT

    run(test)


def test_contents_slower_than_the_least_rate_are_cut_off() -> None:
    """H-A38, smtpd_min_data_rate."""

    async def test() -> None:
        async with serving(TIMED | {"smtpd_min_data_rate": "10"}) as live:
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            for _ in range(11):  # each second of these costs ten bytes, and ten seconds bring ten
                client.writer.write(b"x" * 8 + b"\r\n")
                await live.caught_up()
                live.pass_time(10)
            assert client.is_quiet
            live.pass_time(10)
            assert await client.reply() == TIMEOUT
            assert live.messages == []
            await live.until(r"timeout after DATA \(\d+ bytes\) from unknown\[127\.0\.0\.1\]")

    run(test)


def test_contents_that_come_fast_enough_may_take_long() -> None:
    async def test() -> None:
        async with serving(TIMED | {"smtpd_min_data_rate": "100"}) as live:
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            for _ in range(18):
                client.writer.write(b"x" * 998 + b"\r\n")
                await live.caught_up()
                live.pass_time(10)
            assert (await client.say(b".\r\n")).startswith(b"250 2.0.0 Ok: queued as ")

    run(test)


@pytest.mark.parametrize("ending", [b"", b"\r\n.", b"\r\n.\r"])
@pytest.mark.parametrize("reset", [False, True])
def test_client_gone_in_data_leaves_nothing(ending: bytes, reset: bool) -> None:
    """H-E20."""

    async def test() -> None:
        async with serving() as live:
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            client.writer.write(b"Subject: x\r\n\r\n" + b"x" * 30_000 + ending)
            await live.caught_up()
            client.reset() if reset else client.close()
            await live.until(r"lost connection after DATA \(\d+ bytes\) from unknown\[127\.0\.0\.1\]")
            await live.until(
                r"disconnect from unknown\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4"
            )
            assert live.messages == []
            await live.eventually(lambda: live.service.connection_count == 0)

    run(test)


def test_client_that_half_closes_after_the_end_of_data_gets_its_reply() -> None:
    """H-E21: the message is taken once, and the client is told."""

    async def test() -> None:
        async with serving() as live:
            live.hold = True
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            client.writer.write(b"body\r\n.\r\n")
            client.writer.write_eof()
            await live.caught_up()
            live.release()
            assert (await client.reply()).startswith(b"250 2.0.0 Ok: queued as ")
            assert await client.is_closed()
            assert len(live.messages) == 1

    run(test)


def test_client_gone_while_its_message_is_made_durable() -> None:
    """The queue has it; nobody is left to be told, and nothing breaks."""

    async def test() -> None:
        async with serving() as live:
            live.hold = True
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            client.writer.write(b"body\r\n.\r\n")
            await live.caught_up()
            client.reset()
            await live.until(r"disconnect from .*")
            live.release()
            assert len(live.messages) == 1
            assert (await (await live.greeted()).say(b"NOOP\r\n")).startswith(b"250 ")

    run(test)


@pytest.mark.parametrize("said", [(b"body\r\n.\r\nNOOP\r\n",), (b"body\r\n.\r\n", b"NOOP\r\n")])
def test_no_250_before_the_commit(said: tuple[bytes, ...]) -> None:
    """Nor one for the NOOP, where the client expects that for its message: ahead of it, or during the commit."""

    async def test() -> None:
        async with serving() as live:
            live.hold = True
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            for piece in said:
                client.writer.write(piece)
                await live.caught_up()
            assert len(live.messages) == 1
            assert client.is_quiet
            live.release()
            assert (await client.reply()).startswith(b"250 2.0.0 Ok: queued as ")
            assert await client.reply() == b"250 2.0.0 Ok\r\n"

    run(test)


def test_client_gone_before_it_is_accepted() -> None:
    """A reset right after the handshake finds nobody to greet; nothing breaks and nothing stays."""

    async def test() -> None:
        async with serving() as live:
            for _ in range(5):
                raw = socket.create_connection(("127.0.0.1", live.port))
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                raw.close()
            await live.greeted()
            await live.eventually(lambda: live.service.connection_count == 1)

    run(test)


def test_a_table_of_forbidden_commands_that_cannot_answer() -> None:
    async def test() -> None:
        async with serving({"smtpd_forbidden_commands": "CONNECT regexp:/does/not/exist"}) as live:
            client = await live.greeted()
            assert (await client.say(b"FOO\r\n")).startswith(b"500 5.5.2 ")
            await live.until(r'warning: regexp:/does/not/exist lookup error for "FOO"')

    run(test)


def test_waiting_for_us_is_no_timeout_of_the_client() -> None:
    async def test() -> None:
        async with serving(TIMED) as live:
            live.hold = True
            client = await live.greeted()
            await client.begin()
            await client.say(b"DATA\r\n")
            client.writer.write(b"body\r\n.\r\n")
            await live.caught_up()
            live.pass_time(102)
            live.pass_time(102)
            live.release()
            assert (await client.reply()).startswith(b"250 2.0.0 Ok: queued as ")

    run(test)


def test_client_that_never_reads_is_not_read_and_then_cut_off() -> None:
    """H-E22: replies pile up to a bound, the session ends at its deadline."""

    async def test() -> None:
        limits = {"smtpd_junk_command_limit": "1000000", "smtpd_forbid_unauth_pipelining": "no"}
        async with serving(TIMED | limits) as live:
            loop = asyncio.get_running_loop()
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setblocking(False)
            await loop.sock_connect(raw, ("127.0.0.1", live.port))
            await loop.sock_sendall(raw, HELLO)
            await live.until(r"connect from .*")
            (connection,) = live.service._connections
            sent = 0
            while sent < 30_000_000:
                try:
                    sent += raw.send(b"RSET\r\n" * 10_000)
                except BlockingIOError:
                    if connection._paused:
                        break
                await asyncio.sleep(0.001)
            assert connection._paused
            assert 65536 < connection._transport.get_write_buffer_size() < 10_000_000
            live.pass_time(102)
            await live.until(r"disconnect from .*")
            raw.close()

    run(test)


def test_the_limit_of_connections() -> None:
    """fastrelay_smtpd_connection_limit: 421 at once, and room again when one goes."""

    async def test() -> None:
        async with serving({"fastrelay_smtpd_connection_limit": "2"}) as live:
            first, _ = await live.greeted(), await live.greeted()
            third = await live.client()
            assert await third.reply() == b"421 4.7.0 mx.local.example Error: too many connections\r\n"
            assert await third.is_closed()
            first.close()
            await live.until(r"disconnect from .*")
            await live.greeted()

    run(test)


def test_speaking_before_the_greeting() -> None:
    """H-A18: the client's bytes are there before the loop has accepted it."""

    async def test() -> None:
        async with serving() as live:
            raw = socket.create_connection(("127.0.0.1", live.port))
            raw.sendall(HELLO)
            while unsent_bytes(raw):
                pass  # and not a turn of the loop
            await live.until(r"improper command pipelining after CONNECT from unknown\[127\.0\.0\.1\]: .*")
            with contextlib.suppress(ConnectionResetError):  # what it sent was never read
                assert raw.recv(100) in (b"554 5.5.0 Error: SMTP protocol synchronization\r\n", b"")
            raw.close()

    run(test)


def test_the_relay_stops() -> None:
    """Idle clients get 421; a message under way gets its answer first."""

    async def test() -> None:
        async with serving() as live:
            live.hold = True
            idle, busy = await live.greeted(), await live.greeted()
            await busy.begin()
            await busy.say(b"DATA\r\n")
            busy.writer.write(b"body\r\n.\r\n")
            await live.caught_up()
            live.service.shut_down()
            assert await idle.reply() == b"421 4.3.2 mx.local.example Service shutting down\r\n"
            assert await idle.is_closed()
            live.release()
            assert (await busy.reply()).startswith(b"250 2.0.0 Ok: queued as ")
            live.service.shut_down()
            assert await busy.reply() == b"421 4.3.2 mx.local.example Service shutting down\r\n"

    run(test)


def test_memory_for_contents_has_a_bound() -> None:
    """fastrelay_content_memory_limit: MAIL gets 452 while others' contents take too much."""

    async def test() -> None:
        async with serving({"fastrelay_content_memory_limit": "100000"}) as live:
            first, second = await live.greeted(), await live.greeted()
            await first.begin()
            await first.say(b"DATA\r\n")
            first.writer.write(b"x" * 200_000)
            await live.caught_up()
            live.service.sweep()
            assert await second.say(b"MAIL FROM:<>\r\n") == b"452 4.3.1 Insufficient system storage\r\n"
            assert (await first.say(b"\r\n.\r\n")).startswith(b"250 ")
            live.service.sweep()
            assert await second.say(b"MAIL FROM:<>\r\n") == b"250 2.1.0 Ok\r\n"

    run(test)


def test_many_who_began_in_time_cannot_take_more_memory_than_there_is() -> None:
    """MAIL was answered before anybody had sent contents; then all of them send a lot."""

    async def test() -> None:
        async with serving({"fastrelay_content_memory_limit": "100000"}) as live:
            clients = [await live.greeted() for _ in range(4)]
            for client in clients:
                await client.begin()
                await client.say(b"DATA\r\n")
            for client in clients:
                client.writer.write(b"x" * 60_000 + b"\r\n")
            await live.until(r"insufficient memory after DATA \(\d+ bytes\) from .*", 3)
            said = [await client.say(b".\r\n") for client in clients]
            assert sorted(reply[:3] for reply in said) == [b"250", b"421", b"421", b"421"]
            assert b"421 4.3.1 Insufficient system storage\r\n" in said

    run(test)


def test_no_room_in_the_queue() -> None:
    async def test() -> None:
        async with serving() as live:
            live.room = False
            client = await live.greeted()
            assert await client.say(b"MAIL FROM:<>\r\n") == b"452 4.3.1 Insufficient system storage\r\n"
            assert (
                await client.say(b"RCPT TO:<u@relay.example>\r\n")
                == b"503 5.5.1 Error: need MAIL command\r\n"
            )

    run(test)
