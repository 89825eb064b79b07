"""Remote tables listed whole (items()): as their lookups answer, from real servers, or not at all; and synced."""

import itertools
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_tools import ask_ours, open_remote
from tables_tools import OUR_MAIN

from fastrelay.admin import sync_table
from fastrelay.admin.sync_table import Status
from fastrelay.admin.table_waiter import TableWaiter
from fastrelay.tables import TableError, open_table
from fastrelay.tables.listing import KeyPattern
from fastrelay.tables.redis import spoken_command
from fastrelay.tables.redis_list import answer_of, listing_length
from fastrelay.tables.stream import BadReply
from support.databases import MariaDB, PostgreSQL
from support.remote_servers import Redis, Slapd

COUNT = 1300  # some pages

pytest.importorskip(
    "ldap", reason="python-ldap is not here: apt-get install libldap-dev libsasl2-dev, then make"
)


def listed(spec: str) -> list[tuple[bytes, bytes]]:
    with TableWaiter() as waiter:
        return list(waiter.items(open_remote(spec)))


def write(directory: Path, kind: str, text: str) -> str:
    path = directory / f"{kind}.cf"
    path.write_text(text)
    return f"{kind}:{path}"


def agrees_with_lookups(spec: str, found: list[tuple[bytes, bytes]]) -> None:
    some = found[:: max(1, len(found) // 20)]
    assert ask_ours(spec, [key for key, _ in some]) == [value for _, value in some]


def sync(directory: Path, source: str, *flags: str) -> int:
    (directory / "main.cf").write_text(OUR_MAIN.format(directory) + "maillog_file = /dev/stdout\n")
    return sync_table.main(directory, [*flags, source, f"hash:{directory}/users"])


def person(number: int) -> str:
    return f"""\
dn: cn=u{number},dc=test
objectClass: person
objectClass: mailThing
cn: u{number}
sn: x
mail: SMTP:User{number}@customer.example
mail: smtp:alias{number}@customer.example
mail: X400:c=de{number}
mailacceptinggeneralid: user{number}@customer.example
maildrop: box{number}@mail.example
"""


BASE = "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n\n"
PEOPLE = 450
LDIF = BASE + "\n".join(map(person, range(PEOPLE)))


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with Slapd(tmp_path_factory.mktemp("slapd"), LDIF, "sizelimit unlimited\n") as server:
        yield server


def ldap_table(directory: Path, server: Slapd, more: str = "") -> str:
    text = (
        f"server_host = {server.url}\nsearch_base = dc=test\nbind = no\nresult_attribute = maildrop\n{more}"
    )
    return write(directory, "ldap", text)


def test_ldap_lists_what_the_filter_compares(tmp_path: Path, slapd: Slapd) -> None:
    spec = ldap_table(tmp_path, slapd, "query_filter = mailacceptinggeneralid=%s\n")
    found = listed(spec)
    assert len(found) == PEOPLE
    assert (b"user7@customer.example", b"box7@mail.example") in found
    agrees_with_lookups(spec, found)


def test_ldap_lists_prefixed_addresses(tmp_path: Path, slapd: Slapd) -> None:
    """As an Active Directory has them: proxyAddresses=smtp:%s."""
    spec = ldap_table(
        tmp_path, slapd, "query_filter = (&(objectClass=person)(mail=smtp:%s))\nresult_format = OK\n"
    )
    found = listed(spec)
    assert len(found) == len(dict(found)) == 2 * PEOPLE
    assert {(b"user9@customer.example", b"OK"), (b"alias9@customer.example", b"OK")} <= set(found)
    agrees_with_lookups(spec, found)


@pytest.mark.parametrize(
    "more",
    [
        "query_filter = (cn=%u)\n",
        "search_base = dc=%1\nquery_filter = (mail=%s)\n",
    ],
)
def test_ldap_that_cannot_be_listed(tmp_path: Path, slapd: Slapd, more: str) -> None:
    with pytest.raises(TableError, match="sequence operation"):
        listed(ldap_table(tmp_path, slapd, more))


def test_ldap_gives_all_or_an_error(tmp_path: Path) -> None:
    """A server with a limit on searches stops in the middle of the list."""
    (tmp_path / "server").mkdir()
    with Slapd(tmp_path / "server", LDIF, "sizelimit size.soft=300 size.hard=300\n") as server:
        spec = ldap_table(tmp_path, server, "query_filter = (mailacceptinggeneralid=%s)\n")
        with pytest.raises(TableError, match="Size limit exceeded"):
            listed(spec)


def test_sync_from_ldap_and_when_it_is_down(
    tmp_path: Path, slapd: Slapd, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = ldap_table(tmp_path, slapd, "query_filter = (mailacceptinggeneralid=%s)\nresult_format = OK\n")
    assert sync(tmp_path, spec) == Status.DONE
    table = open_table(f"hash:{tmp_path}/users")
    assert table.get(b"user449@customer.example") == b"OK"
    slapd.stop()
    try:
        assert sync(tmp_path, spec, "--force") == Status.UNREADABLE
    finally:
        slapd.start()
    assert "status=unreadable" in capfd.readouterr().out
    assert table.get(b"user449@customer.example") == b"OK"
    assert sync(tmp_path, spec) == Status.DONE
    assert sync(tmp_path, spec.replace("ldap:", "nosuch:")) == Status.UNREADABLE


ROWS = [(f"User{i}@customer.example", f"box{i}", i) for i in range(COUNT)]
CREATE = "CREATE TABLE people (k VARCHAR(99), v VARCHAR(99), n INTEGER)"
INSERT = "INSERT INTO people VALUES " + ",".join(f"('{k}','{v}',{n})" for k, v, n in ROWS)
GRANT = "GRANT SELECT ON people TO PUBLIC"
QUERY = "query = SELECT v FROM people WHERE LOWER(k) = '%s'\nresult_format = smtp:%s\n"
LIST = "list_query = SELECT k, v FROM people ORDER BY n\n"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fastrelay-test-") as name, PostgreSQL(Path(name)) as server:
        server.run(f"{CREATE}; {INSERT}; {GRANT}")
        yield server.parameters


@pytest.fixture(scope="module")
def mariadb() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fastrelay-test-") as name, MariaDB(Path(name)) as server:
        server.run(f"{CREATE}; {INSERT}")
        yield server.parameters


@pytest.fixture
def database(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute(CREATE)
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", ROWS)
    connection.close()
    return f"dbpath = {tmp_path}/t.db\n"


@pytest.mark.parametrize(
    ("kind", "server"), [("pgsql", "postgres"), ("mysql", "mariadb"), ("sqlite", "database")]
)
def test_sql_lists_what_list_query_selects(
    tmp_path: Path, kind: str, server: str, request: pytest.FixtureRequest
) -> None:
    parameters = request.getfixturevalue(server)
    spec = write(tmp_path, kind, parameters + QUERY + LIST)
    found = listed(spec)
    assert found == [(k.encode(), b"smtp:" + v.encode()) for k, v, _ in ROWS]
    agrees_with_lookups(spec, found)
    keys_alone = "list_query = SELECT k FROM people WHERE n < 9\ndomain = customer.example\n"
    assert listed(write(tmp_path, kind, parameters + QUERY + keys_alone))[8] == (
        ROWS[8][0].encode(),
        b"smtp:OK",
    )
    numbers = "list_query = SELECT n, NULL, n FROM people WHERE n < 9\nresult_format = <%s>\n"
    assert listed(write(tmp_path, kind, parameters + QUERY.split("\n")[0] + "\n" + numbers))[8][0] == b"8"
    with pytest.raises(TableError, match=r"sequence operation is not supported$"):
        listed(write(tmp_path, kind, parameters + QUERY))
    with pytest.raises(TableError):
        listed(write(tmp_path, kind, parameters + QUERY + "list_query = SELECT nothing FROM people\n"))
    assert sync(tmp_path, write(tmp_path, kind, parameters + QUERY + LIST)) == Status.DONE
    assert open_table(f"hash:{tmp_path}/users").get(b"user77@customer.example") == b"smtp:box77"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        pairs = list(itertools.chain.from_iterable((f"m[x]:{k}:e", v) for k, v, _ in ROWS))
        commands = [
            ["MSET", *pairs],
            ["HSET", "people", *pairs],
            ["SET", "mx:no:e", "other"],
            ["LPUSH", "m[x]:l:e", "x"],
        ]
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            for words in commands:
                connection.sendall(spoken_command([word.encode() for word in words]))
                assert connection.recv(100)[:1] in b"+:"
        yield server


@pytest.mark.parametrize("more", ["", "hash = people\n"])
def test_redis_lists_keys_of_its_format(tmp_path: Path, redis: Redis, more: str) -> None:
    spec = write(
        tmp_path,
        "redis",
        f"redis = inet:{redis.address}\nkey_format = m[x]:%s:e\nresult_format = <%s>\n{more}",
    )
    assert sorted(set(listed(spec))) == sorted((k.encode(), b"<" + v.encode() + b">") for k, v, _ in ROWS)
    assert ask_ours(spec, [b"none"]) == [None]
    assert sync(tmp_path, spec) == Status.DONE
    with pytest.raises(TableError, match="sequence operation"):
        listed(write(tmp_path, "redis", f"redis = inet:{redis.address}\nkey_format = %u\n"))
    with pytest.raises(TableError):
        listed(write(tmp_path, "redis", f"redis = inet:{redis.address}\nhash = m[x]:l:e\n"))


def test_redis_replies_of_any_shape() -> None:
    whole = b"*2\r\n$1\r\n0\r\n*3\r\n$2\r\nab\r\n$-1\r\n:7\r\n"
    for end in range(len(whole)):
        assert listing_length(bytearray(whole[:end])) == 0
    assert listing_length(bytearray(whole + b"more")) == len(whole)
    assert answer_of("redis:x", whole) == [b"0", [b"ab", None, b"7"]]
    with pytest.raises(TableError, match="server says: WRONG"):
        answer_of("redis:x", b"-WRONG\r\n")
    for wrong in (b"x\r\n", b"$x\r\n", b"*1\r\n" * 4, b"+" + b"a" * 2000, b"*-2\r\n", b"$9999999999\r\n"):
        with pytest.raises(BadReply):
            listing_length(bytearray(wrong))


def test_patterns_of_keys() -> None:
    assert KeyPattern("smtp:%s").key_of(b"SMTP:a@b") == b"a@b"
    assert KeyPattern("smtp:%s").key_of(b"x400:a@b") is None
    assert KeyPattern("smtp:%s").key_of(b"smtp:") is None
    assert KeyPattern("%u@%d>").key_of(b"a@b>") == b"a@b"
    assert [KeyPattern.is_in(text) for text in ("%s", "x%u@%dy", "%s%s", "%u", "%%s", "x")] == [
        *(True, True, False, False, False, False)
    ]
