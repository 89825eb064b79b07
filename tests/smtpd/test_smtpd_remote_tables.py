"""RCPT checks, mynetworks and forbidden commands with tables that must be waited for, here of a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from smtpd_live import run, serving


def database(directory: Path, **entries: str) -> str:
    """A sqlite: table with these entries."""
    with sqlite3.connect(directory / "t.db") as connection:
        connection.execute("CREATE TABLE t (k TEXT, v TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", entries.items())
    connection.close()
    (directory / "t.cf").write_text(f"dbpath = {directory}/t.db\nquery = SELECT v FROM t WHERE k = '%s'\n")
    return f"sqlite:{directory}/t.cf"


OPEN = {"smtpd_relay_restrictions": "reject_unauth_destination", "relay_recipient_maps": ""}


def test_a_recipient_that_a_database_knows(tmp_path: Path) -> None:
    table = database(tmp_path, **{"u@relay.example": "x"})

    async def test() -> None:
        async with serving(OPEN | {"relay_recipient_maps": table}) as live:
            client = await live.greeted()
            assert (await client.say(b"MAIL FROM:<a@b.example>\r\n")).startswith(b"250")
            assert (await client.say(b"RCPT TO:<u@relay.example>\r\n")).startswith(b"250")
            assert (await client.say(b"RCPT TO:<v@relay.example>\r\n")) == (
                b"550 5.1.1 <v@relay.example>: Recipient address rejected: "
                b"User unknown in relay recipient table\r\n"
            )

    run(test)


def test_pipelined_commands_wait_their_turn(tmp_path: Path) -> None:
    table = database(tmp_path, **{"u@relay.example": "x"})

    async def test() -> None:
        async with serving(OPEN | {"relay_recipient_maps": table}) as live:
            client = await live.greeted()
            client.writer.write(
                b"MAIL FROM:<a@b.example>\r\nRCPT TO:<u@relay.example>\r\nRCPT TO:<v@relay.example>\r\n"
                b"RCPT TO:<u+x@relay.example>\r\nDATA\r\n"
            )
            replies = [(await client.reply())[:3] for _ in range(5)]
            assert replies == [b"250", b"250", b"550", b"550", b"354"]

    run(test)


def test_a_database_that_cannot_be_asked_is_a_temporary_error(tmp_path: Path) -> None:
    table = database(tmp_path, **{"u@relay.example": "x"})

    async def test() -> None:
        settings = OPEN | {"relay_recipient_maps": table, "fastrelay_table_retry_time": "0"}
        async with serving(settings) as live:
            client = await live.greeted()
            await client.say(b"MAIL FROM:<a@b.example>\r\n")
            (tmp_path / "t.db").rename(tmp_path / "away.db")
            refusal = await client.say(b"RCPT TO:<u@relay.example>\r\n")
            assert refusal == b"451 4.3.0 <u@relay.example>: Temporary lookup failure\r\n"
            await live.until(rf"warning: {table} lookup error for \"u@relay.example\"")
            await live.until(rf"warning: {table}: No such file or directory")
            (tmp_path / "away.db").rename(tmp_path / "t.db")
            assert (await client.say(b"RCPT TO:<u@relay.example>\r\n")).startswith(b"250")

    run(test)


@pytest.mark.parametrize(("listed", "code"), [("127.0.0.1", b"250"), ("127.0.0.2", b"554")])
def test_mynetworks_in_a_database(tmp_path: Path, listed: str, code: bytes) -> None:
    table = database(tmp_path, **{listed: "x"})

    async def test() -> None:
        settings = {"mynetworks": table, "local_header_rewrite_clients": "permit_mynetworks"}
        async with serving(settings) as live:
            client = await live.greeted()
            await client.say(b"MAIL FROM:<a@b.example>\r\n")
            assert (await client.say(b"RCPT TO:<u@outside.example>\r\n")).startswith(code)

    run(test)


def test_forbidden_commands_in_a_database(tmp_path: Path) -> None:
    table = database(tmp_path, get="x")

    async def test() -> None:
        async with serving({"smtpd_forbidden_commands": table}) as live:
            client = await live.greeted()
            assert (await client.say(b"GOT / HTTP/1.0\r\n")).startswith(b"500 5.5.2")
            assert (await client.say(b"GET / HTTP/1.0\r\n")).startswith(b"221 2.7.0")
            await live.until(r"warning: non-SMTP command from unknown\[127.0.0.1\]: GET / HTTP/1.0")

    run(test)


def test_a_client_that_goes_while_a_table_is_asked(tmp_path: Path) -> None:
    """Nothing breaks, and the answer serves the next client."""
    table = database(tmp_path, **{"u@relay.example": "x"})

    async def test() -> None:
        async with serving(OPEN | {"relay_recipient_maps": table}) as live:
            lock = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
            lock.execute("BEGIN EXCLUSIVE")
            client = await live.greeted()
            await client.say(b"MAIL FROM:<a@b.example>\r\n")
            client.writer.write(b"RCPT TO:<u@relay.example>\r\n")
            await asyncio.sleep(0.05)
            client.close()
            lock.execute("ROLLBACK")
            lock.close()
            await live.until(r"disconnect from .*")
            client = await live.greeted()
            await client.say(b"MAIL FROM:<a@b.example>\r\n")
            assert (await client.say(b"RCPT TO:<u@relay.example>\r\n")).startswith(b"250")

    run(test)
