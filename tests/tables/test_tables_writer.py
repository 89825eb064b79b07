"""Tables that are written to: LMDB in its place under readers and builders, memcache and redis."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_tools import Tools, needs_postmap

from fastrelay.tables import TableError, lmdb_writer, open_table
from fastrelay.tables.lmdb_writer import LmdbWriter
from fastrelay.tables.options import Options, Surroundings, TableSettings
from fastrelay.tables.proxywrite import ProxyWriter, pack_entries, unpack_entries
from fastrelay.tables.publish import table_lock
from fastrelay.tables.registry import COMPILED_TYPES
from fastrelay.tables.writer import TableWriter
from fastrelay.tables.writing import open_writer
from support.remote_servers import Memcached, Redis

HASTY = Surroundings(TableSettings(fastrelay_table_timeout=0.3, fastrelay_table_lookup_limit=50))


def use(spec: str, job: Callable[[Any], Awaitable[Any]], **how: Any) -> Any:
    async def run() -> Any:
        writer = open_writer(spec, **how)
        try:
            return await job(writer)
        finally:
            await writer.close()

    return asyncio.run(run())


async def everything(writer: TableWriter) -> list[tuple[bytes, bytes]]:
    return [entry async for entry in writer.entries()]


@pytest.mark.parametrize("kind", ["hash", "btree", "lmdb"])
def test_what_is_written_is_seen_at_once_by_who_reads(tmp_path: Path, kind: str) -> None:
    spec = f"{kind}:{tmp_path}/t"

    async def job(writer: TableWriter) -> None:
        assert await writer.get(b"a") is None
        assert not await writer.delete(b"a")
        assert await writer.put(b"A", b"1")
        reader = open_table(spec)
        assert (await writer.get(b"a"), reader.get(b"a")) == (b"1", b"1")
        assert not await writer.put(b"a", b"2", replace=False)
        assert reader.get(b"a") == b"1"
        assert await writer.put(b"a", b"2")
        assert reader.get(b"a") == b"2"
        assert await writer.delete(b"a")
        assert reader.get(b"a") is None

    use(spec, job)
    assert os.stat(f"{tmp_path}/t.lmdb").st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_an_error_of_its_own(tmp_path: Path) -> None:
    async def job(writer: TableWriter) -> None:
        good = asyncio.create_task(writer.put(b"good", b"1"))
        for key, value in (
            (b"x" * 511, b"1"), (b"", b"1"), (b"a\0b", b"1"), (b"\xff", b"1"),
            (b"a", b""), (b"a", b"\0"), (b"a", b"\xff"),
        ):  # fmt: skip
            with pytest.raises(TableError) as caught:
                await writer.put(key, value)
            assert not caught.value.unavailable
        for key in (b"x" * 511, b"", b"a\0b", b"\xff"):
            assert not await writer.delete(key)
        assert await good
        assert await everything(writer) == [(b"good", b"1")]

    use(f"lmdb:{tmp_path}/t", job)


def test_many_at_once_are_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    commit = LmdbWriter._commit

    def counting(self: LmdbWriter, changes: list[Any]) -> list[bool]:
        batches.append(len(changes))
        return commit(self, changes)

    monkeypatch.setattr(LmdbWriter, "_commit", counting)

    async def job(writer: TableWriter) -> list[bool]:
        return await asyncio.gather(*(writer.put(b"%d" % i, b"x" * 1000) for i in range(1000)))

    around = Surroundings(TableSettings(fastrelay_table_lookup_limit=1000))
    assert use(f"lmdb:{tmp_path}/t", job, around=around) == [True] * 1000
    assert sum(batches) == 1000
    assert len(batches) < 10


def test_a_file_grows_beyond_what_was_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "map_size", lambda size: size + (1 << 16))

    async def job(writer: TableWriter) -> None:
        for start in range(3):
            await asyncio.gather(
                *(writer.put(b"%d" % i, b"x" * 5000) for i in range(40 * start, 40 * start + 40))
            )
        assert len(await everything(writer)) == 120

    use(f"lmdb:{tmp_path}/t", job)


def test_pages_are_all_entries_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_writer, "PAGE_ENTRIES", 7)
    keys = sorted({b"%d" % (i * i) for i in range(50)})

    async def job(writer: TableWriter) -> None:
        await asyncio.gather(*(writer.put(key, b"v" + key) for key in keys))
        assert await everything(writer) == [(key, b"v" + key) for key in keys]
        assert [key for key, _ in await writer.page(b"2")] == [key for key in keys if key > b"2"][:7]

    use(f"lmdb:{tmp_path}/t", job)


def test_who_makes_the_table_is_waited_for(tmp_path: Path) -> None:
    async def job(writer: TableWriter) -> None:
        assert await writer.put(b"a", b"1")
        with table_lock(f"{tmp_path}/t.lmdb"):
            waiting = asyncio.create_task(writer.put(b"b", b"2"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        assert await waiting

    use(f"lmdb:{tmp_path}/t", job)

    async def hasty(writer: TableWriter) -> None:
        with table_lock(f"{tmp_path}/t.lmdb"):
            changes = [writer.put(b"%d" % i, b"x") for i in range(60)]
            answers = await asyncio.gather(*changes, return_exceptions=True)
        assert all(isinstance(answer, TableError) for answer in answers)
        reasons = {str(answer).partition(": ")[2].partition(":")[0] for answer in answers}
        assert "too many changes are under way" in reasons
        assert any("no answer within 0.3 seconds" in str(answer) for answer in answers)
        assert await writer.put(b"c", b"3")

    use(f"lmdb:{tmp_path}/t", hasty, around=HASTY)
    assert [open_table(f"lmdb:{tmp_path}/t").get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", b"3"]


@needs_postmap
def test_beside_debians_postmap_and_ours(tools: Tools) -> None:
    """Files of either, with NULs and without; a table that was replaced goes on as the new one."""
    for flags, maker in itertools.product(([], ["-n"], ["-N"]), (tools.postfix, tools.ours)):
        tools.write("t", "a 1\nb 2\n")
        spec = f"lmdb:{tools.directory}/t"

        async def job(writer: TableWriter, maker: Any = maker, flags: Any = flags, spec: str = spec) -> None:
            for name in ("x", "y"):
                assert maker(*flags, spec).status == 0
                assert await writer.put(name.encode(), b"3")
                assert await writer.delete(b"A")
                assert tools.postfix("-q", name, spec).out == b"3\n"
                assert tools.postfix("-q", "a", spec).status == 1
                assert await everything(writer) == [(b"b", b"2"), (name.encode(), b"3")]

        use(spec, job)
        os.unlink(f"{tools.directory}/t.lmdb")


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "bad.lmdb").write_bytes(b"x" * 10_000)
    (tmp_path / "dir.lmdb").mkdir()

    async def job(writer: TableWriter) -> None:
        for call in (writer.put(b"a", b"1"), writer.delete(b"a"), writer.page(b"")):
            with pytest.raises(TableError) as caught:
                await call
            assert caught.value.unavailable

    for name in ("bad", "dir", "none/t"):
        use(f"lmdb:{tmp_path}/{name}", job)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("texthash:/etc/passwd", "table type texthash cannot be written to"),
        ("cdb:/x", "open database /x.cdb: No such file or directory"),
        ("tcp:127.0.0.1:1", "table type tcp cannot be written to"),
        ("dbm:/x", "unsupported dictionary type: dbm"),
        ("proxy:lmdb:/y", 'proxywrite service is not configured for table "lmdb:/y"'),
    ],
)
def test_what_is_no_table_for_that(spec: str, reason: str) -> None:
    heard: list[str] = []
    around = Surroundings(complain=heard.append, writable=frozenset({"lmdb:/x"}))
    with pytest.raises(TableError) as caught:
        open_writer(spec, around=around)
    assert caught.value.reason == reason
    if spec.startswith("proxy"):
        assert heard[0] == 'request for unapproved table: "lmdb:/y"'
        assert heard[1].endswith("read-write access, list proxy:lmdb:/y in main.cf:proxy_write_maps")
    assert set(COMPILED_TYPES) - {"cdb"} == {"hash", "btree", "lmdb"}


def test_no_proxywrite_is_a_table_error(tmp_path: Path) -> None:
    writer = ProxyWriter("lmdb:/x", Options(around=Surroundings(proxywrite=f"{tmp_path}/none")))
    with pytest.raises(
        TableError, match=r"^proxy:lmdb:/x: connect to proxywrite: No such file or directory$"
    ):
        asyncio.run(writer.get(b"k"))
    with pytest.raises(TableError, match="too long"):
        asyncio.run(writer.put(b"k", b"x" * (1 << 19)))


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=20))
@settings(max_examples=50)
def test_entries_on_their_way(entries: list[tuple[bytes, bytes]]) -> None:
    assert unpack_entries(pack_entries(entries)) == entries


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("servers")
    with Memcached(directory) as memcached, Redis(directory) as redis:
        yield {"memcache": memcached, "redis": redis}


CASES = [
    ("memcache", ""),
    ("redis", ""),
    ("redis", "hash = h\n"),
    ("memcache", "backup = hash:{dir}/backup\n"),
    ("memcache", "backup = proxy:hash:{dir}/backup\n"),  # as proxywrite itself opens it
]


@pytest.mark.parametrize(("kind", "more"), CASES)
def test_servers_are_written_to(tmp_path: Path, servers: dict[str, Any], kind: str, more: str) -> None:
    file = tmp_path / f"{kind}.cf"
    place = f"{kind} = inet:{servers[kind].address}\nkey_format = w{len(more)}{kind}:%s\n"
    file.write_text(place + more.format(dir=tmp_path))
    if "backup" in more:
        use(f"hash:{tmp_path}/backup", lambda writer: writer.put(b"other", b"1"))

    async def job(writer: TableWriter) -> None:
        assert await writer.get(b"k") is None
        assert not await writer.delete(b"k")
        assert await writer.put(b"K", b"1", replace=False)
        assert not await writer.put(b"k", b"2", replace=False)
        assert await writer.get(b"k") == b"1"
        assert await writer.put(b"k", b"2")
        assert await writer.get(b"K") == b"2"
        assert await writer.delete(b"k")
        assert await writer.get(b"k") is None
        assert await writer.put(b"last", b"x y")
        with pytest.raises(TableError):
            await writer.put(b"k", b"a\0b")

    use(f"{kind}:{file}", job)
    if "backup" in more:
        assert open_table(f"hash:{tmp_path}/backup").get(b"last") == b"x y"


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    for kind in ("memcache", "redis"):
        file = tmp_path / f"{kind}.cf"
        file.write_text(f"{kind} = inet:127.0.0.1:1\n")

        async def job(writer: TableWriter) -> None:
            for call in (writer.put(b"k", b"1"), writer.delete(b"k"), writer.get(b"k")):
                with pytest.raises(TableError, match="Connection refused"):
                    await call

        use(f"{kind}:{file}", job)
