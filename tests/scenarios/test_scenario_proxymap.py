"""proxymap in a running relay: what workers share, what may be asked, and what happens when it dies."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
from collections.abc import Iterator

import pytest

from fastrelay.tables.frames import FRAME, pack
from fastrelay.tables.proxymap import ANSWER, QUESTION, UNAVAILABLE
from support.relay import PATIENCE, Fastrelay, until
from support.scripted_server import ScriptedServer

BASE = {
    "relay_domains": "r.test",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    "local_recipient_maps": "",
    "fastrelay_table_retry_time": "0",
}


def known(request: bytes) -> bytes:
    """A socketmap that knows bob and all whose names begin with `other`."""
    return b"8:OK known," if re.search(rb" (bob|other\d*)@r.test,", request) else b"9:NOTFOUND ,"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(known) as server:
        yield server


def table(server: ScriptedServer, name: str = "people") -> str:
    return f"socketmap:inet:{server.address}:{name}"


def relay_with(server: ScriptedServer, **main: object) -> Fastrelay:
    return Fastrelay(BASE | {"relay_recipient_maps": f"proxy:{table(server)}"} | main)


def ask(relay: Fastrelay, user: str) -> tuple[int, bytes]:
    with relay.smtp() as client:
        client.ehlo()
        client.mail("a@b.test")
        return client.rcpt(f"{user}@r.test")


def proxymap_pid(relay: Fastrelay) -> int:
    (found,) = relay.companion_pids()
    return found


def test_workers_share_a_connection_and_what_is_known(server: ScriptedServer) -> None:
    with relay_with(server, fastrelay_workers=2) as relay:
        assert ask(relay, "nobody")[0] == 550
        for _ in range(30):
            assert ask(relay, "bob")[0] == 250
        until(lambda: len(set(re.findall(r"smtpd\[(\d+)\]: connect", relay.log()))) == 2, relay.log)
    questions = [request for request in server.seen if b"bob@r.test" in request]
    assert len(questions) == 1 and server.connections == 1


def test_what_is_not_approved_is_not_asked(server: ScriptedServer) -> None:
    with relay_with(server, proxy_read_maps="proxy:hash:/x") as relay:
        assert ask(relay, "bob")[0] == 451
        name = re.escape(table(server))
        relay.wait_log(rf'warning: request for unapproved table: "{name}"')
        relay.wait_log(rf"read-only access, list proxy:{name} in main\.cf:proxy_read_maps")
        relay.wait_log(rf'proxymap service is not configured for table "{name}"')
        relay.write_main(proxy_read_maps=f"proxy:{table(server)}")
        relay.reload()
        until(lambda: ask(relay, "bob")[0] == 250)
    assert not [request for request in server.seen if b"bob" not in request]


def test_local_tables_are_approved_too() -> None:
    main = BASE | {"relay_recipient_maps": "proxy:inline:{bob@r.test=x}", "proxy_read_maps": ""}
    with Fastrelay(main) as relay:
        assert ask(relay, "bob")[0] == 451
        done = relay.run_tool("postmap", "-q", "k", "proxy:proxy:static:x")
        words = 'proxymap service is not configured for table "static:x"'
        assert done.returncode == 1 and done.stderr.decode().endswith(f"fatal: {words}\n")
        done = relay.run_tool("postmap", "-d", "k", "proxy:hash:/x")
        words = 'proxywrite service is not configured for table "hash:/x"'
        assert done.returncode == 1 and done.stderr.decode().endswith(f"fatal: {words}\n")
        relay.write_main(proxy_read_maps="$relay_recipient_maps")
        relay.reload()
        until(lambda: ask(relay, "bob")[0] == 250)


def test_one_that_is_killed_is_replaced(server: ScriptedServer) -> None:
    with relay_with(server) as relay:
        assert ask(relay, "bob")[0] == 250
        for number in range(2):
            before = proxymap_pid(relay)
            os.kill(before, signal.SIGKILL)
            assert ask(relay, f"other{number}")[0] == 250  # it waited in the backlog meanwhile
            assert proxymap_pid(relay) != before
        relay.wait_log(r"process proxymap pid \d+ killed by signal 9")
        assert relay.log().count("panic") == 0


def test_one_that_hangs_is_a_temporary_error(server: ScriptedServer) -> None:
    with relay_with(server, fastrelay_table_timeout="1s") as relay:
        until(lambda: ask(relay, "bob")[0] == 250)
        pid = proxymap_pid(relay)
        os.kill(pid, signal.SIGSTOP)
        try:
            assert ask(relay, "other1") == (451, b"4.3.0 <other1@r.test>: Temporary lookup failure")
            assert ask(relay, "bob")[0] == 250  # the worker knows it still
            relay.wait_log(r"warning: proxy:socketmap:.*: no answer within 2 seconds")
        finally:
            os.kill(pid, signal.SIGCONT)
        until(lambda: ask(relay, "other1")[0] == 250)


def test_a_server_that_is_gone_is_a_temporary_error(server: ScriptedServer) -> None:
    with relay_with(server, fastrelay_table_cache_time="0") as relay:
        assert ask(relay, "bob")[0] == 250
        server.handler = lambda request: None
        code, text = ask(relay, "bob")
        assert (code, text) == (451, b"4.3.0 <bob@r.test>: Temporary lookup failure")
        name = re.escape(table(server))
        relay.wait_log(rf"postfix/proxymap\[\d+\]: warning: {name}: unexpected disconnect")
        relay.wait_log(rf'postfix/smtpd\[\d+\]: warning: proxy:{name} lookup error for "bob@r.test"')
        server.handler = known
        assert ask(relay, "bob")[0] == 250


def test_it_refuses_what_a_worker_should_not_ask(server: ScriptedServer) -> None:
    """A worker that somebody has taken over gets nothing but approved tables."""
    with relay_with(server) as relay:
        for spec in (b"texthash:/etc/passwd", b"proxy:texthash:/etc/passwd", b"\xff\xfe", b""):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(str(relay.spool / "private" / "proxymap"))
                client.sendall(pack(7, QUESTION.pack(1, 1, len(spec)) + spec + b"root"))
                head = client.recv(FRAME.size, socket.MSG_WAITALL)
                length, number = FRAME.unpack(head)
                kind, _ = ANSWER.unpack_from(client.recv(length - 4, socket.MSG_WAITALL))
                assert (number, kind) == (7, UNAVAILABLE)
        for junk in (b"\xff" * 100, struct.pack("!II", 5, 1) + b"x", struct.pack("!II", 3, 1)):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(str(relay.spool / "private" / "proxymap"))
                client.sendall(junk)
                assert client.recv(1) == b""
        assert ask(relay, "bob")[0] == 250
        relay.wait_log('request for unapproved table: "texthash:/etc/passwd"')


def test_there_is_none_when_nothing_needs_it() -> None:
    with Fastrelay({"relay_recipient_maps": "proxy:hash:/x, tcp:127.0.0.1:1"}) as relay:
        assert relay.companion_pids() == []
