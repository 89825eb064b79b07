"""memcache: against memcached as Debian's postmap does, redis: against redis-server, and hostile servers for both."""

import itertools
import re
import socket
import threading
import tracemalloc

import pytest
from remote_tools import ERROR, ask_ours, compare, look_up, open_remote, run
from tables_tools import Tools, needs_postmap

from support.remote_servers import Memcached, Redis
from support.scripted_server import ScriptedServer, silent

STORED = {
    "k": b"val",
    "mixed": b"folded",
    "p:user@ex.com": b"prefixed",
    "user": b"user part",
    "ex.com": b"domain part",
    "com": b"label",
    "big": b"b" * 20_000,
    "lines": b"a\nb",
    "empty": b"",
    "latin": b"\xff\xfe",
    "nul": b"a\0b",
    "é": b"accent",
    "a" * 250: b"long",
}


@pytest.fixture(scope="module")
def memcached(tmp_path_factory: pytest.TempPathFactory):
    with Memcached(tmp_path_factory.mktemp("memcached")) as server:
        for key, value in STORED.items():
            assert (
                talk(server, b"set %b 0 0 %d\r\n%b\r\n" % (key.encode(), len(value), value)) == b"STORED\r\n"
            )
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory):
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        words = itertools.chain.from_iterable((key.encode(), value) for key, value in STORED.items())
        client(server, b"MSET", *words)
        client(server, b"RPUSH", b"list", b"x")
        client(server, b"HSET", b"aliases", b"k", b"in the hash")
        yield server


def talk(server, request):
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def client(server, *words):
    text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return talk(server, text)


def table_file(directory, kind, number, server, **settings):
    path = directory / f"{number}.cf"
    settings.setdefault(kind, f"inet:{server.address}")
    path.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    return f"{kind}:{path}"


MEMCACHE_CASES = [
    *((key, {}) for key in STORED if key not in ("nul", "big")),
    ("K", {}),
    ("MiXed", {}),
    ("none", {}),
    ("two words", {}),
    ("a" * 251, {}),
    ("", {}),
    (b"\xe9", {}),
    ("big", {}),
    ("big", {"data_size_limit": "30000"}),
    ("user@ex.com", {"key_format": "p:%s"}),
    ("user@ex.com", {"key_format": "%u"}),
    ("user@ex.com", {"key_format": "%d"}),
    ("user@ex.com", {"key_format": "%1"}),
    ("@ex.com", {"key_format": "%u"}),
    ("user", {"key_format": "%d"}),
    ("user@ex.com", {"key_format": "%9"}),
    ("k", {"key_format": "%q"}),
    ("user@ex.com", {"key_format": "p:%s", "domain": "other.com"}),
    ("user@ex.com", {"key_format": "p:%s", "domain": "ex.com"}),
    ("k", {"memcache": "inet:127.0.0.1:1"}),
    ("k", {"memcache": "unix:/nonexistent"}),
    ("k", {"memcache": "bogus"}),
    ("k", {"ttl": "x"}),
    ("k", {"max_try": "0"}),
    ("backed", {"backup": "texthash:{dir}/backup"}),
    ("none", {"backup": "texthash:{dir}/backup"}),
    ("k", {"backup": "texthash:{dir}/backup"}),
    ("backed", {"backup": "texthash:{dir}/backup", "memcache": "inet:127.0.0.1:1"}),
    ("none", {"backup": "texthash:{dir}/backup", "memcache": "inet:127.0.0.1:1"}),
    ("none", {"backup": "fail:always"}),
]


@needs_postmap
def test_memcache_answers_as_postmap_does(tools: Tools, memcached: Memcached):
    tools.write("backup", "backed by this\nk not this\n")
    questions = []
    for number, (key, settings) in enumerate(MEMCACHE_CASES):
        settings = {name: text.format(dir=tools.directory) for name, text in settings.items()}
        spec = table_file(tools.directory, "memcache", number, memcached, **settings)
        questions.append((spec, key.encode() if isinstance(key, str) else key))
    ours = compare(tools, questions)
    assert ours[:3] == [b"val", b"folded", b"prefixed"]


def test_what_the_backup_has_is_stored_in_memcached(tmp_path, memcached: Memcached):
    (tmp_path / "backup").write_text("fresh out of the backup\n")
    settings = {"key_format": "q:%s", "flags": "7", "ttl": "100", "backup": f"texthash:{tmp_path}/backup"}
    spec = table_file(tmp_path, "memcache", 1, memcached, **settings)
    assert ask_ours(spec, [b"fresh", b"stale"]) == [b"out of the backup", None]
    assert talk(memcached, b"get q:fresh\r\n") == b"VALUE q:fresh 7 17\r\nout of the backup\r\nEND\r\n"
    assert talk(memcached, b"get q:stale\r\n") == b"END\r\n"


@needs_postmap
def test_postmap_deletes_and_lists_as_debians_does(tools: Tools, memcached: Memcached, redis: Redis):
    down = table_file(tools.directory, "memcache", 2, memcached, memcache="inet:127.0.0.1:1")
    backed = table_file(tools.directory, "memcache", 3, memcached, backup=f"hash:{tools.directory}/backup")
    tools.write("backup", "one first\ntwo second\n")
    for program in (tools.postfix, tools.ours):
        talk(memcached, b"set gone 0 0 1\r\nx\r\n")
        spec = table_file(tools.directory, "memcache", 1, memcached)
        assert [program("-d", key, spec).status for key in ("gone", "gone")] == [0, 1]
        assert talk(memcached, b"get gone\r\n") == b"END\r\n"
        answer = program("-d", "gone", down)
        assert answer.status == 1
        assert re.search(r"fatal: table memcache:\S+: delete error: Connection refused", answer.err)
        program(f"hash:{tools.directory}/backup")
        assert sorted(program("-s", backed).out.splitlines()) == [b"one\tfirst", b"two\tsecond"]
        assert program("-q", "one", backed).out == b"first\n"
        assert program("-d", "one", backed).status == 0
        assert program("-q", "one", backed).status == 1
    client(redis, b"SET", b"gone", b"x")
    spec = table_file(tools.directory, "redis", 4, redis)
    assert tools.ours("-q", "gone", spec).out == b"x\n"
    assert tools.ours("-d", "gone", spec).status == 0
    assert client(redis, b"EXISTS", b"gone") == b":0\r\n"


def test_redis(tmp_path, redis: Redis):
    def ask(key, **settings):
        return ask_ours(table_file(tmp_path, "redis", 1, redis, **settings), [key])[0]

    found = {key: ask(key.encode()) for key in STORED}
    assert found == {**STORED, "empty": None, "latin": ERROR, "nul": ERROR}
    assert ask(b"none") is None
    assert ask(b"K") == b"val"
    assert ask(b"list") == ERROR
    assert ask(b"big", data_size_limit="100") == ERROR
    assert ask(b"user@ex.com", key_format="p:%s") == b"prefixed"
    assert ask(b"user", key_format="%d") is None
    assert ask(b"k", result_format="<%s>") == b"<val>"
    assert ask(b"k", hash="aliases") == b"in the hash"
    assert ask(b"mixed", hash="aliases") is None
    assert ask(b"k", database="3") is None
    assert ask(b"k", database="99") == ERROR
    assert ask(b"k", password="wrong") == ERROR
    assert ask(b"k", redis="inet:127.0.0.1:1") == ERROR
    assert ask(b"k", redis="nonsense") == ERROR


def test_redis_wants_a_password(tmp_path):
    (tmp_path / "r").mkdir()
    with Redis(tmp_path / "r") as server:
        client(server, b"SET", b"k", b"v")
        client(server, b"CONFIG", b"SET", b"requirepass", b"secret")
        spec = table_file(tmp_path, "redis", 1, server)
        assert ask_ours(spec, [b"k"]) == [ERROR]
        assert ask_ours(table_file(tmp_path, "redis", 1, server, password="secret"), [b"k"]) == [b"v"]
        both = {"user": "default", "password": "secret"}
        assert ask_ours(table_file(tmp_path, "redis", 1, server, **both), [b"k"]) == [b"v"]


@pytest.mark.parametrize("kind", [Memcached, Redis])
def test_a_server_that_restarts_is_used_again(tmp_path, kind):
    (tmp_path / "s").mkdir()
    with kind(tmp_path / "s") as server:
        name = "memcache" if kind is Memcached else "redis"
        spec = table_file(tmp_path, name, 1, server)

        async def scene():
            table = open_remote(spec, fastrelay_table_retry_time=0.0, fastrelay_table_negative_cache_time=0.0)
            found = [await look_up(table, b"k")]
            server.stop()
            found += [await look_up(table, b"k")]
            server.start()
            found += [await look_up(table, b"k")]
            await table.close()
            return found

        assert run(scene()) == [None, ERROR, None]


HOSTILE = {
    "hangs up": lambda request: None,
    "is silent": silent,
    "never ends": lambda request: itertools.repeat(b"x" * 65536),
    "wants a gigabyte": lambda request: itertools.chain(
        [b"VALUE k 0 1000000000\r\n" if request[:3] == b"get" else b"$1000000000\r\n"],
        itertools.repeat(b"x" * 65536),
    ),
    "lies about the length": lambda request: (
        b"VALUE k 0 1\r\nxyz\r\nEND\r\n" if request[:3] == b"get" else b"$1\r\nxyz\r\n"
    ),
    "answers another question": lambda request: (
        b"VALUE z 0 1\r\nx\r\nEND\r\n" if request[:3] == b"get" else b":1\r\n"
    ),
    "has a negative length": lambda request: b"VALUE k 0 -5\r\n" if request[:3] == b"get" else b"$-5\r\n",
    "is in trouble": lambda request: b"SERVER_ERROR x\r\n" if request[:3] == b"get" else b"-LOADING x\r\n",
    "nests": lambda request: b"*1\r\n" * 1000,
    "is binary": lambda request: bytes(range(256)),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("kind", ["memcache", "redis"])
def test_a_hostile_server_is_an_error_within_bounds(tmp_path, kind, what):
    with ScriptedServer(HOSTILE[what]) as server:
        settings = {"max_try": "1"} if kind == "memcache" else {}
        spec = table_file(tmp_path, kind, 1, server, timeout="1", **settings)
        tracemalloc.start()
        answers = ask_ours(spec, [b"k"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answers == [ERROR]
    assert peak < 3_000_000


def test_a_reply_that_comes_too_late_is_nobodys(tmp_path):
    """Not the next key's value, and not its "not found"."""

    too_late = threading.Event()

    def late(request):
        key = request.split()[1]
        if key == b"first":
            assert too_late.wait(60)
        return b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (key, len(key), key)

    with ScriptedServer(late) as server:
        spec = table_file(tmp_path, "memcache", 1, server, timeout="1", max_try="1")

        async def scene():
            table = open_remote(spec, fastrelay_table_retry_time=0.0, fastrelay_table_connection_limit=1)
            found = [await look_up(table, b"first")]
            table.timeout = table._patience = 60.0
            too_late.set()
            found.append(await look_up(table, b"second"))
            await table.close()
            return found

        assert run(scene()) == [ERROR, b"second"]
