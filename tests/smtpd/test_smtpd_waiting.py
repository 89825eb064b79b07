"""While the service waits for something of its own, names, tables or time: what clients may say, and may not delay."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from smtpd_live import HELLO, Client, Live, run, serving

from fastrelay.smtpd import client_name


class SlowNames:
    """A name server that answers when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = threading.Event()
        monkeypatch.setattr(client_name, "look_up", self.look_up)

    def look_up(self, address: str) -> bytes:
        assert self.answer.wait(60)
        return b"host.example"


async def not_yet_greeted(live: Live) -> Client:
    client = await live.client()
    await live.eventually(lambda: live.service.connection_count)
    return client


def test_speaking_while_the_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    names = SlowNames(monkeypatch)

    async def test() -> None:
        async with serving({"smtpd_peername_lookup": "yes"}) as live:
            client = await not_yet_greeted(live)
            client.writer.write(HELLO)
            await live.caught_up()
            names.answer.set()
            assert await client.reply() == b"554 5.5.0 Error: SMTP protocol synchronization\r\n"
            assert await client.is_closed()
            await live.until(r"connect from host\.example\[127\.0\.0\.1\]")

    run(test)


def test_speaking_while_the_name_is_looked_up_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = SlowNames(monkeypatch)

    async def test() -> None:
        main = {"smtpd_peername_lookup": "yes", "smtpd_forbid_unauth_pipelining": "no"}
        async with serving(main) as live:
            client = await not_yet_greeted(live)
            for line in (b"NOOP\r\n", b"RSET\r\n"):
                client.writer.write(line)
                await live.caught_up()
            names.answer.set()
            assert (await client.reply()).startswith(b"220 ")
            assert await client.reply() == b"250 2.0.0 Ok\r\n"
            assert await client.reply() == b"250 2.0.0 Ok\r\n"

    run(test)


def test_client_gone_while_its_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    names = SlowNames(monkeypatch)

    async def test() -> None:
        async with serving({"smtpd_peername_lookup": "yes"}) as live:
            (await not_yet_greeted(live)).reset()
            await live.eventually(lambda: live.service.connection_count == 0)
            names.answer.set()
            client = await live.greeted()
            assert live.service.connection_count == 1
            client.close()

    run(test)


def slow_check(live: Live) -> asyncio.Event:
    """Every recipient restriction has to look something up far away, until this is set."""
    answered = asyncio.Event()

    async def answer() -> object:
        await answered.wait()
        return None

    live.checks._chains.insert(0, (lambda session, candidate: answer(),))
    return answered


def test_a_slow_check_holds_up_its_own_client_only() -> None:
    async def test() -> None:
        async with serving() as live:
            answered = slow_check(live)
            first, second = await live.greeted(), await live.greeted()
            await first.say(b"MAIL FROM:<a@sender.example>\r\n")
            first.writer.write(b"RCPT TO:<u@relay.example>\r\nRCPT TO:<u@outside.example>\r\nDATA\r\n")
            await live.caught_up()
            assert await second.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
            assert first.is_quiet
            answered.set()
            assert await first.reply() == b"250 2.1.5 Ok\r\n"
            assert await first.reply() == b"554 5.7.1 <u@outside.example>: Relay access denied\r\n"
            assert (await first.reply()).startswith(b"354 ")

    run(test)


def test_client_gone_while_a_check_runs() -> None:
    async def test() -> None:
        async with serving() as live:
            answered = slow_check(live)
            client = await live.greeted()
            await client.say(b"MAIL FROM:<a@sender.example>\r\n")
            client.writer.write(b"RCPT TO:<u@relay.example>\r\n")
            await live.caught_up()
            client.reset()
            answered.set()
            await live.until(r"lost connection after RCPT from unknown\[127\.0\.0\.1\]")
            await (await live.greeted()).begin()
            assert live.service.connection_count == 1

    run(test)


class Delays:
    """The loop, but what is to happen later happens when the test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.held: list[tuple[float, Callable[[], None]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.held.append((delay, callback))


def test_errors_slow_a_client_down() -> None:
    """H-E03: smtpd_error_sleep_time from the soft limit on."""

    async def test() -> None:
        limits = {
            "smtpd_error_sleep_time": "7",
            "smtpd_soft_error_limit": "2",
            "smtpd_hard_error_limit": "4",
        }
        async with serving(limits) as live:
            delays = live.service.loop = Delays(live.service.loop)
            client = await live.greeted()
            for _ in range(2):
                assert await client.say(b"FOO\r\n") == b"500 5.5.2 Error: command not recognized\r\n"
            assert not delays.held
            client.writer.write(b"FOO\r\n")
            await live.caught_up()
            assert client.is_quiet
            ((delay, go_on),) = delays.held
            assert delay == 7
            go_on()
            assert await client.reply() == b"500 5.5.2 Error: command not recognized\r\n"
            assert await client.say(b"FOO\r\n") == b"500 5.5.2 Error: command not recognized\r\n"
            assert await client.reply() == b"421 4.7.0 mx.local.example Error: too many errors\r\n"
            await live.until(r"too many errors after UNKNOWN from unknown\[127\.0\.0\.1\]")

    run(test)
