"""pgsql:, mysql: and sqlite: against real servers: Debian's answers, mistakes and failures, and a server that stops."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sql_tools import BY_KEY, FAILURES, FORMATS, KEYS, MISTAKES, Sql, fails, installed
from tables_tools import Tools

from fastrelay.tables import TableError, open_table, table_types
from fastrelay.tables.pending import answer
from support.databases import ROWS, MariaDB, PostgreSQL
from support.ports import free_port

PACKAGES = ("postfix-pgsql", "postfix-mysql", "postfix-sqlite")
pytestmark = pytest.mark.skipif(
    not all(map(installed, PACKAGES)),
    reason=f"Debian's tables are not here: apt-get install {' '.join(PACKAGES)}",
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="fastrelay-test-") as name, PostgreSQL(Path(name)) as server:
        yield server


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    with tempfile.TemporaryDirectory(prefix="fastrelay-test-") as name, MariaDB(Path(name)) as server:
        yield server


@pytest.fixture
def pgsql(postgres: PostgreSQL, tools: Tools) -> Sql:
    return Sql("pgsql", postgres.parameters, tools)


@pytest.fixture
def mysql(mariadb: MariaDB, tools: Tools) -> Sql:
    return Sql("mysql", mariadb.parameters, tools)


@pytest.fixture
def sqlite(tools: Tools) -> Sql:
    path = tools.directory / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (k TEXT, v TEXT, n INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
    connection.close()
    return Sql("sqlite", f"dbpath = {path}\n", tools)


@pytest.fixture(params=["pgsql", "mysql", "sqlite"])
def sql(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_the_answers_are_debians(sql: Sql) -> None:
    lookups = [sql.compare(text) for text in (FORMATS if sql.kind == "sqlite" else FORMATS[::3])]
    assert len(lookups) * len(KEYS) > (400 if sql.kind == "sqlite" else 150)
    assert lookups[0]["a@b.com"] == "x@y.org,z" and lookups[0]["q'q@b.com"] == "quoted"


@pytest.mark.parametrize("text", MISTAKES)
def test_the_mistakes_are_debians(sqlite: Sql, text: str) -> None:
    assert sqlite.compare_mistake(text)


@pytest.mark.parametrize("kind", ["pgsql", "mysql"])
def test_a_name_of_a_database_is_needed(kind: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)
    sql.parameters = sql.parameters.replace("dbname", "dbnone")
    assert "dbname" in sql.compare_mistake(BY_KEY)


def test_a_failing_query_is_an_error(sql: Sql) -> None:
    for text in FAILURES if sql.kind == "sqlite" else FAILURES[:1]:
        assert "query error" in sql.compare_failure(text)


@pytest.mark.parametrize("kind", ["pgsql", "sqlite"])
def test_parameters_in_main_cf(kind: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)
    lines = [f"source_{line}\n" for line in (sql.parameters + BY_KEY).splitlines()]
    for name in ("postfix", "ours"):
        with (sql.tools.directory / name / "main.cf").open("a") as file:
            file.writelines(lines)
    theirs = sql.tools.postfix("-q", "a@b.com", f"{sql.kind}:source")
    ours = sql.tools.ours("-q", "a@b.com", f"{sql.kind}:source")
    assert (
        (ours.status, ours.out, ours.err)
        == (theirs.status, theirs.out, theirs.err)
        == (0, b"x@y.org,z\n", "")
    )


def test_a_missing_file(sql: Sql) -> None:
    arguments = ["-q", "a", f"{sql.kind}:/none.cf"]
    ours, theirs = sql.tools.ours(*arguments), sql.tools.postfix(*arguments)
    assert (ours.status, ours.err) == (theirs.status, theirs.err)
    assert sql.kind in table_types()


def test_a_database_is_not_listed(sqlite: Sql) -> None:
    ours, theirs = [tool("-s", sqlite.write(BY_KEY)) for tool in (sqlite.tools.ours, sqlite.tools.postfix)]
    assert (ours.status, ours.err) == (theirs.status, theirs.err)


@pytest.mark.parametrize(
    "values",
    [
        "true, false, 5, -7::bigint, 2.50, 1e20::float8, 0.1::float4, NULL",
        "'abc'::bytea, 'x'::\"char\", 'padded'::char(10), 'name'::name, '{\"a\": 1}'::jsonb",
        "timestamp '2020-01-02 03:04:05', date '2020-01-02', interval '1 day', '10.0.0.1'::inet",
    ],
)
def test_types_of_postgres_are_shown_as_text(pgsql: Sql, values: str) -> None:
    assert pgsql.compare(f"query = SELECT {values}", ["k"])["k"].count(",") >= 3


def test_types_of_mariadb_are_shown_as_text(mysql: Sql) -> None:
    values = (
        "1 = 1, 5, -7, 2.50, 1e20, date '2020-01-02', timestamp '2020-01-02 03:04:05', cast('a' as binary)"
    )
    assert mysql.compare(f"query = SELECT {values}", ["k"])["k"].startswith("1,5,-7,2.50,")


def test_types_of_sqlite_are_shown_as_text(sqlite: Sql) -> None:
    found = [
        sqlite.compare(f"query = SELECT {value}", ["k"]).get("k")
        for value in ("5", "2.50", "1e20", "x'4142'", "CAST(x'410042' AS TEXT)", "NULL", "'a', 'b'")
    ]
    assert found == ["5", "2.5", "1.0e+20", "AB", "A", None, "a"]


@pytest.mark.parametrize("words", ["require_result_set = yes", "require_result_set = no"])
def test_procedures_of_mariadb(mysql: Sql, mariadb: MariaDB, words: str) -> None:
    mariadb.run(
        "CREATE OR REPLACE PROCEDURE look(IN p varchar(200)) SELECT v FROM t WHERE k = p ORDER BY n;"
        "CREATE OR REPLACE PROCEDURE silent(IN p varchar(200)) SET @x = 1;"
    )
    assert mysql.compare(f"query = CALL look('%s')\n{words}", KEYS[:9])["a@b.com"] == "x@y.org,z"
    silent = f"query = CALL silent('%s')\n{words}"
    if words.endswith("yes"):
        assert "query error" in mysql.compare_failure(silent)
    else:
        assert mysql.compare(silent, KEYS[:3]) == {}


def test_a_key_that_is_not_ascii(mysql: Sql, pgsql: Sql, sqlite: Sql) -> None:
    """Postfix 3.7 asks PostgreSQL in Latin-1 and so does not find it; 3.9 does."""
    for sql in (mysql, sqlite):
        assert sql.compare(BY_KEY, ["müller@b.com"]) == {"müller@b.com": "grün@y.org"}
    assert pgsql.ours(pgsql.write(BY_KEY), ["müller@b.com"]) == {"müller@b.com": "grün@y.org"}


@pytest.mark.parametrize("kind", ["pgsql", "mysql"])
def test_a_server_that_stops_and_comes_back(kind: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)
    server = request.getfixturevalue({"pgsql": "postgres", "mysql": "mariadb"}[kind])

    async def scene(table: Any) -> None:
        assert await answer(table.get, b"bob") == b"r1,r2"
        server.stop()
        try:
            assert await fails(table, b"bob")
            assert "connect to" in await fails(table, b"u@b.com")
            assert "onnect" in await fails(table, b"none")
        finally:
            server.start()
        for _ in range(1000):
            try:
                assert await answer(table.get, b"bob") == b"r1,r2"
                return
            except Exception as error:
                last = error
                await asyncio.sleep(0.05)
        raise last

    sql.scene(sql.write(BY_KEY), scene, fastrelay_table_cache_time=0.0, fastrelay_table_retry_time=0.05)


SLEEPS = [("pgsql", "SELECT 'x' || pg_sleep('%s'::int)::text"), ("mysql", "SELECT concat('x', sleep('%s'))")]


@pytest.mark.parametrize(("kind", "query"), SLEEPS, ids=["pgsql", "mysql"])
def test_a_query_without_end_is_ended(kind: str, query: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)

    async def scene(table: Any) -> None:
        assert await fails(table, b"3600") == "no answer within 2 seconds"
        table.timeout = 60.0
        assert await answer(table.get, b"0") is not None

    limits = {"fastrelay_table_timeout": 2.0, "fastrelay_table_retry_time": 0.0}
    sql.scene(sql.write(f"query = {query}"), scene, **limits)


def test_connections_are_bounded_and_used_again(pgsql: Sql) -> None:
    spec = pgsql.write("query = SELECT pg_backend_pid()::text || pg_sleep(0.05)::text || '%s'")

    async def scene(table: Any) -> None:
        keys = [f"-{number}".encode() for number in range(60)]
        answers = await asyncio.gather(*[answer(table.get, key) for key in keys])
        servers = {value.partition(b"-")[0] for value in answers}
        assert len(servers) == 3

    pgsql.scene(spec, scene, fastrelay_table_connection_limit=3)


@pytest.mark.parametrize("kind", ["pgsql", "mysql"])
def test_hosts_are_tried_in_turn(kind: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)
    sql.parameters = sql.parameters.replace("hosts = ", f"hosts = inet:127.0.0.1:{free_port()}, ")
    for _ in range(4):
        assert sql.compare(BY_KEY, ["bob"]) == {"bob": "r1,r2"}


@pytest.mark.parametrize("kind", ["pgsql", "mysql"])
def test_unix_sockets(kind: str, request: pytest.FixtureRequest) -> None:
    sql: Sql = request.getfixturevalue(kind)
    server = request.getfixturevalue({"pgsql": "postgres", "mysql": "mariadb"}[kind])
    where = f"unix:{server.directory if kind == 'pgsql' else server.socket}"
    if kind == "pgsql":
        (server.directory / ".s.PGSQL.5432").symlink_to(f".s.PGSQL.{server.port}")
    sql.parameters = sql.parameters.replace(f"hosts = {server.address}", f"hosts = {where}")
    assert sql.compare(BY_KEY, ["bob"]) == {"bob": "r1,r2"}


def test_a_uri_of_postgres(pgsql: Sql, postgres: PostgreSQL) -> None:
    uri = f"postgresql://relay:secret@{postgres.address}/postgres"
    pgsql.parameters = f"hosts = {uri}\ndbname = postgres\n"
    assert pgsql.ours(pgsql.write(BY_KEY), ["bob"]) == {"bob": "r1,r2"}


def test_a_wrong_password_is_an_error(pgsql: Sql, mysql: Sql) -> None:
    for sql in (pgsql, mysql):
        sql.parameters = sql.parameters.replace("secret", "wrong")
        assert "query error" in sql.compare_failure(BY_KEY)


def test_a_key_that_is_no_text_says_nothing_about_the_server(sqlite: Sql) -> None:
    """Keys of header checks are any bytes."""

    async def scene() -> None:
        table = open_table(sqlite.write(BY_KEY), fold=False, utf8=False)
        with pytest.raises(TableError) as caught:
            await answer(table.get, b"\xff")
        assert not caught.value.unavailable
        assert await answer(table.get, b"bob") == b"r1,r2"
        await table.close()  # type: ignore[attr-defined]

    asyncio.run(scene())


def test_a_database_file_that_is_replaced(sqlite: Sql) -> None:
    path = sqlite.tools.directory / "t.db"

    async def scene(table: Any) -> None:
        assert await answer(table.get, b"bob") == b"r1,r2"
        path.rename(path.with_name("old.db"))
        assert "No such file" in await fails(table, b"bob")
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (k TEXT, v TEXT, n INTEGER)")
            connection.execute("INSERT INTO t VALUES ('bob', 'new', 1)")
        connection.close()
        assert await answer(table.get, b"bob") == b"new"

    limits = {"fastrelay_table_cache_time": 0.0, "fastrelay_table_retry_time": 0.0}
    sqlite.scene(sqlite.write(BY_KEY), scene, **limits)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch, tools: Tools) -> None:
    monkeypatch.setitem(__import__("sys").modules, "asyncpg", None)
    problem = open_table("pgsql:/etc/none.cf").problem
    assert problem.startswith("unsupported dictionary type: pgsql. Is fastrelay[pgsql] installed?")
