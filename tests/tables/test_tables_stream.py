"""socketmap: and tcp: against servers of the test's own: as Debian's postmap answers, and whatever is sent."""

import itertools
import threading
import tracemalloc

import pytest
from remote_tools import ERROR, ask_ours, compare, look_up, open_remote, run
from tables_tools import Tools, needs_postmap

from fastrelay.tables.socketmap import netstring
from fastrelay.tables.tcp import encoded
from support.scripted_server import ScriptedServer, silent

SOCKETMAP = {
    b"found": netstring(b"OK the value"),
    b"blanks": netstring(b"OK   two before, one behind "),
    b"empty": netstring(b"OK "),
    b"nothing": netstring(b"OK"),
    b"tab": netstring(b"OK\tvalue"),
    b"small": netstring(b"ok value"),
    b"none": netstring(b"NOTFOUND "),
    b"bare": netstring(b"NOTFOUND"),
    b"why": netstring(b"NOTFOUND because"),
    b"temp": netstring(b"TEMP later\x07"),
    b"timeout": netstring(b"TIMEOUT late"),
    b"perm": netstring(b"PERM never"),
    b"bogus": netstring(b"BOGUS x"),
    b"void": netstring(b""),
    b"lines": netstring(b"OK one\ntwo"),
    b"utf": netstring("OK é".encode()),
    b"latin": netstring(b"OK \xe9"),
    b"longest": netstring(b"OK " + b"x" * 99_997),
    b"longer": netstring(b"OK " + b"x" * 99_998),
    b"zero": b"04:OK x,",
    b"garbage": b"hello there\n",
    b"no comma": b"4:OK x;",
    b"huge": b"99999999999:OK x,",
    b"large": b"100001:",
    b"negative": b"-4:OK x,",
    b"MiXed Key": netstring(b"OK mixed"),
    b"\xc3\xa9": netstring(b"OK accent"),
}
TCP = {
    b"found": b"200 the%20value\n",
    b"plain": b"200 a b  c\n",
    b"blanks": b"200   x\n",
    b"coded": b"200 a%25b%0Ac%0ad\n",
    b"empty": b"200 \n",
    b"short": b"200\n",
    b"tab": b"200\tx\n",
    b"return": b"200 x\r\n",
    b"badcode": b"200 %zz\n",
    b"percent": b"200 100%\n",
    b"none": b"500 no such key\n",
    b"none5": b"599 no\n",
    b"bare": b"500\n",
    b"later": b"400 later\n",
    b"six": b"600 x\n",
    b"word": b"hello\n",
    b"line": b"\n",
    b"long": b"2000 x\n",
    b"few": b"20 x\n",
    b"latin": b"200 \xe9\n",
    b"longest": b"200 " + b"x" * 4091 + b"\n",
    b"MiXed %\t\xc3\xa9": b"200 mixed\n",
}


def socketmap(request):
    length, _, rest = request.partition(b":")
    assert rest == rest[: int(length)] + b","
    name, _, key = rest[:-1].partition(b" ")
    return SOCKETMAP.get(key, netstring(b"NOTFOUND ")) if name == b"map" else netstring(b"PERM no such map")


def tcp(request):
    replies = {b"get " + encoded(key) + b"\n": reply for key, reply in TCP.items()}
    return replies.get(request, b"500 not here\n")


@pytest.fixture
def socketmap_server():
    with ScriptedServer(socketmap) as server:
        yield server


@pytest.fixture
def tcp_server():
    with ScriptedServer(tcp) as server:
        yield server


@needs_postmap
def test_socketmap_answers_as_postmap_does(tools: Tools, socketmap_server: ScriptedServer):
    server = socketmap_server
    server.path.parent.chmod(0o755)
    spec = f"socketmap:inet:{server.address}:map"
    questions = [(spec, key) for key in [*SOCKETMAP, b"unknown", b"\xe9"]]
    questions += [
        (f"socketmap:unix:{server.path}:map", b"found"),
        (f"socketmap:inet:{server.address}:other", b"found"),
        ("socketmap:inet:127.0.0.1:1:map", b"found"),
        ("socketmap:unix:/nonexistent:map", b"found"),
        ("socketmap:bogus:x:map", b"found"),
        ("socketmap:nonsense", b"found"),
        (f"socketmap:inet:{server.address}", b"found"),
    ]
    ours = dict(zip(questions, compare(tools, questions), strict=True))
    assert ours[spec, b"found"] == ours[f"socketmap:unix:{server.path}:map", b"found"] == b"the value"
    assert list(ours.values()).count(ERROR) == 20


@needs_postmap
def test_tcp_answers_as_postmap_does(tools: Tools, tcp_server: ScriptedServer):
    spec = f"tcp:{tcp_server.address}"
    questions = [(spec, key) for key in [*TCP, b"unknown", b"\xe9"]] + [("tcp:127.0.0.1", b"x")]
    ours = dict(zip(questions, compare(tools, questions), strict=True))
    assert ours[spec, b"found"] == b"the value"
    assert list(ours.values()).count(ERROR) == 12


def test_one_connection_serves_many_lookups(socketmap_server: ScriptedServer, tcp_server: ScriptedServer):
    for spec, server in (
        (f"socketmap:inet:{socketmap_server.address}:map", socketmap_server),
        (f"tcp:{tcp_server.address}", tcp_server),
    ):
        assert ask_ours(spec, [b"found", b"none", b"later", b"temp", b"found"])[0] == b"the value"
        assert server.connections == 1


def test_an_idle_connection_that_the_server_ended_costs_no_lookup(tcp_server: ScriptedServer):
    async def scene():
        table = open_remote(f"tcp:{tcp_server.address}")
        assert await look_up(table, b"found") == b"the value"
        tcp_server.hang_up()
        assert await look_up(table, b"plain") == b"a b  c"
        await table.close()

    run(scene())
    assert tcp_server.connections == 2


def _endless(start, part):
    return lambda request: itertools.chain([start], itertools.repeat(part))


HOSTILE = {
    "hangs up": lambda request: None,
    "is silent": silent,
    "never ends": _endless(b"", b"x" * 65536),
    "never ends its digits": _endless(b"", b"1" * 65536),
    "sends half": lambda request: b"20:OK half" if request[:1].isdigit() else b"200 half",
    "sends binary": lambda request: bytes(range(256)) * 20,
    "lies about the length": lambda request: b"3:OK much longer,",
    "wants a gigabyte": _endless(b"1000000000:OK ", b"x" * 65536),
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("kind", ["socketmap:inet:%s:map", "tcp:%s"])
def test_a_hostile_server_is_an_error_within_bounds(kind, what):
    with ScriptedServer(HOSTILE[what]) as server:
        tracemalloc.start()
        answers = ask_ours(kind % server.address, [b"one", b"two"], fastrelay_table_timeout=0.2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answers == [ERROR, ERROR]
    assert peak < 3_000_000


@pytest.mark.parametrize("kind", ["socketmap", "tcp"])
def test_a_late_or_second_reply_is_not_the_next_keys_answer(kind):
    """Half a reply, or one too many, ends the connection with it."""
    spoken = {"socketmap": netstring(b"OK %b"), "tcp": b"200 %b\n"}[kind]

    def twice(request):
        key = request.rstrip(b",\n").split(b" ")[-1]
        reply = netstring(b"OK " + key) if kind == "socketmap" else spoken % key
        return reply + reply

    with ScriptedServer(twice) as server:
        spec = {"socketmap": f"socketmap:inet:{server.address}:map", "tcp": f"tcp:{server.address}"}[kind]
        assert ask_ours(spec, [b"one", b"two", b"three"]) == [b"one", b"two", b"three"]

    too_late = threading.Event()

    def late(request):
        reply = twice(request)[: len(twice(request)) // 2]
        if b"one" in request:
            assert too_late.wait(60)
        return reply

    with ScriptedServer(late) as server:
        spec = {"socketmap": f"socketmap:inet:{server.address}:map", "tcp": f"tcp:{server.address}"}[kind]

        async def scene():
            table = open_remote(spec, fastrelay_table_timeout=0.2, fastrelay_table_retry_time=0.0)
            first = await look_up(table, b"one")
            table.timeout = 60.0
            too_late.set()
            return [first, await look_up(table, b"two"), await table.close()]

        assert run(scene()) == [ERROR, b"two", None]
