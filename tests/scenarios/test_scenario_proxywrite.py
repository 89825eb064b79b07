"""proxywrite in a running relay: who may write what, several at once, and death in the middle of a change."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from fastrelay.tables import open_table
from fastrelay.tables.frames import FRAME, pack
from fastrelay.tables.options import Options, Surroundings
from fastrelay.tables.proxywrite import REQUEST, Kind, Operation, ProxyWriter
from support.relay import PATIENCE, Fastrelay, until

TABLES = ["one", "two", "three", "four", "five", "six"]


@pytest.fixture(scope="module")
def relay() -> Iterator[Fastrelay]:
    names = " ".join(f"proxy:btree:$config_directory/../data/{name}" for name in TABLES)
    with Fastrelay({"proxy_write_maps": names}) as relay:
        yield relay


def name_of(relay: Fastrelay, name: str) -> str:
    return f"btree:{relay.etc}/../data/{name}"


def writer_of(relay: Fastrelay, name: str) -> ProxyWriter:
    path = str(relay.spool / "private" / "proxywrite")
    return ProxyWriter(name_of(relay, name), Options(around=Surroundings(proxywrite=path)))


def pid_of(relay: Fastrelay, but: int = 0) -> int:
    """When it is there, and is not `but`."""
    return until(lambda: sum(pid for pid in relay.companion_pids() if pid != but))


def test_postmap_writes_through_it(relay: Fastrelay) -> None:
    spec = f"proxy:{name_of(relay, 'one')}"
    done = relay.run_tool("postmap", "-i", spec, input="b 1\na 2\nB 3\nlonely\n")
    assert done.returncode == 0
    assert b'stdin, line 3: duplicate entry: "b"' in done.stderr and b"stdin, line 4: expected" in done.stderr
    assert relay.tool("postmap", "-s", spec) == "a\t2\nb\t1\n"
    relay.tool("postmap", "-r", "-i", spec, input="b 3\n")
    assert relay.tool("postmap", "-q", "b", name_of(relay, "one")) == "3\n"
    assert [relay.run_tool("postmap", "-d", "b", spec).returncode for _ in range(2)] == [0, 1]
    assert relay.tool("postmap", "-s", spec) == "a\t2\n"
    for words, status in ((["-s", "proxy:hash:/x"], 1), ([spec], 1)):
        assert relay.run_tool("postmap", *words).returncode == status
    path = relay.directory / "data" / "one.lmdb"
    assert path.stat().st_uid == os.stat(f"/proc/{pid_of(relay)}").st_uid
    relay.stop()
    done = relay.run_tool("postmap", "-d", "a", spec)
    assert done.returncode == 1
    assert b"delete error: connect to proxywrite: No such file or directory" in done.stderr
    relay.start()
    assert relay.tool("postmap", "-s", spec) == "a\t2\n"


def test_two_at_once_lose_nothing(relay: Fastrelay) -> None:
    spec = f"proxy:{name_of(relay, 'two')}"
    texts = [
        b"".join(b"%b%d %d\n" % (name, i, i) for i in range(1500)) + b"both x\n" for name in (b"a", b"b")
    ]
    command = relay.command("postmap", "-w", "-i", spec)
    tools = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in texts]
    for tool, text in zip(tools, texts, strict=True):
        assert tool.stdin is not None
        tool.stdin.write(text)
        tool.stdin.close()
    assert [tool.wait(PATIENCE) for tool in tools] == [0, 0]
    assert len(relay.tool("postmap", "-s", spec).splitlines()) == 3001


def test_killed_in_the_middle_of_changes(relay: Fastrelay) -> None:
    """What was answered is there, and who asks waits for the next process."""

    answered = [0]

    async def write(writer: ProxyWriter, number: int, ended: asyncio.Event) -> dict[bytes, bytes]:
        wanted: dict[bytes, bytes] = {}
        while not ended.is_set():
            for key in (b"%d-%d" % (number, len(wanted)), b"again%d" % number):
                value = b"%d" % len(wanted)
                assert await writer.put(key, value)
                wanted[key] = value
                answered[0] += 1
        return wanted

    async def run() -> dict[bytes, bytes]:
        writer, ended = writer_of(relay, "three"), asyncio.Event()

        async def more() -> None:
            wanted = answered[0] + 60
            async with asyncio.timeout(PATIENCE):
                while answered[0] < wanted:
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(write(writer, number, ended)) for number in range(20)]
        before = 0
        for _ in range(2):
            before = await asyncio.to_thread(pid_of, relay, before)
            await more()
            os.kill(before, signal.SIGKILL)
        await asyncio.to_thread(pid_of, relay, before)
        await more()
        ended.set()
        return {key: value for part in await asyncio.gather(*tasks) for key, value in part.items()}

    wanted = asyncio.run(run())
    assert len(wanted) > 60
    table = open_table(name_of(relay, "three"))
    assert {key: table.get(key) for key in wanted} == wanted
    assert dict(table.items()) == wanted  # type: ignore[arg-type]
    relay.wait_log(r"process proxywrite pid \d+ killed by signal 9")
    assert "panic" not in relay.log()


def test_a_reload_takes_and_gives_rights(relay: Fastrelay) -> None:
    assert asyncio.run(writer_of(relay, "four").put(b"a", b"1"))
    before = relay.main["proxy_write_maps"]
    relay.write_main(proxy_write_maps="proxy:btree:/elsewhere")
    relay.reload()
    name = re.escape(name_of(relay, "four"))

    def refused() -> str:
        try:
            asyncio.run(writer_of(relay, "four").put(b"a", b"2"))
        except Exception as error:
            return str(error)
        return ""

    words = f'proxywrite service is not configured for table "{name_of(relay, "four")}"'
    until(lambda: words in refused())
    relay.wait_log(rf'postfix/proxywrite\[\d+\]: warning: request for unapproved table: "{name}"')
    relay.wait_log(rf"for read-write access, list proxy:{name} in main\.cf:proxy_write_maps")
    relay.write_main(proxy_write_maps=before)
    relay.reload()
    until(lambda: not refused())
    assert open_table(name_of(relay, "four")).get(b"a") == b"2"


def test_a_table_that_cannot_be_written_is_told_once(relay: Fastrelay) -> None:
    (relay.directory / "data" / "five.lmdb").mkdir()
    for _ in range(3):
        done = relay.run_tool("postmap", "-d", "a", f"proxy:{name_of(relay, 'five')}")
        assert done.returncode == 1 and b"Is a directory" in done.stderr
    assert relay.log().count("is unavailable") == 1
    (relay.directory / "data" / "five.lmdb").rmdir()
    assert asyncio.run(writer_of(relay, "five").put(b"a", b"1"))


def test_it_takes_no_nonsense(relay: Fastrelay) -> None:
    def ask(data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(relay.spool / "private" / "proxywrite"))
            client.sendall(data)
            head = client.recv(FRAME.size, socket.MSG_WAITALL)
            return client.recv(FRAME.unpack(head)[0] - 4, socket.MSG_WAITALL) if head else b""

    for spec in (b"lmdb:/etc/x", b"proxy:btree:/x", b"\xff\xfe", b"", b"texthash:/etc/passwd"):
        for operation in Operation:
            assert (
                ask(pack(7, REQUEST.pack(operation, 1, 1, len(spec), 1) + spec + b"k"))[0] == Kind.UNAVAILABLE
            )
    name = name_of(relay, "six").encode()
    junk = [b"\xff" * 100, struct.pack("!II", 5, 1) + b"x", struct.pack("!II", 3, 1)]
    junk += [
        pack(1, REQUEST.pack(9, 1, 1, len(name), 0) + name),
        pack(1, REQUEST.pack(1, 1, 1, 9999, 1) + b"x"),
    ]
    assert [ask(data) for data in junk] == [b""] * len(junk)
    assert asyncio.run(writer_of(relay, "six").put(b"a", b"1"))
    assert "panic" not in relay.log()


def test_there_is_none_when_nothing_needs_it() -> None:
    with Fastrelay({"proxy_write_maps": "btree:/x", "address_verify_map": "btree:/y"}) as relay:
        assert relay.companion_pids() == []
        relay.write_main(proxy_write_maps=None, address_verify_map="proxy:btree:/y")
        relay.reload()
        assert pid_of(relay)
