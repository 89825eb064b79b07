"""A running relay whose tables ask a server: one that stalls holds up nobody else, one that stops loses no mail."""

from __future__ import annotations

import contextlib
import re
import smtplib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import PostgreSQL
from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, until
from support.scripted_server import ScriptedServer


class People:
    """A socketmap that knows everybody, but tells of names that begin with `slow` only when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self, request: bytes) -> bytes:
        if b" slow" in request:
            self.let_go.wait(600)
        return b"8:OK known,"


def delays(relay: Fastrelay, user: str, count: int) -> list[float]:
    """How long each of the replies to RCPT took, in order of length."""
    found = []
    with relay.smtp() as client:
        client.ehlo()
        client.mail("a@b.test")
        for number in range(count):
            before = time.monotonic()
            assert client.rcpt(f"{user}@r.test")[0] == 250
            found.append(time.monotonic() - before)
            if number % 100 == 99:
                client.rset()
                client.mail("a@b.test")
    return sorted(found)


@contextlib.contextmanager
def stalled(relay: Fastrelay, count: int) -> Iterator[list[smtplib.SMTP]]:
    """Sessions whose recipients are looked up far away."""
    clients = []
    for number in range(count):
        client = relay.smtp()
        client.ehlo()
        client.mail("a@b.test")
        client.send(b"RCPT TO:<slow%d@r.test>\r\n" % number)
        clients.append(client)
    yield clients
    for client in clients:
        client.close()


SLOW = pytest.mark.soak
STALL = 2.0  # seconds


@pytest.mark.parametrize("prefix", ["", pytest.param("proxy:", marks=SLOW)])
def test_a_server_that_stalls_holds_up_nobody_else(prefix: str) -> None:
    people = People()
    with ScriptedServer(people) as server:
        main = {
            "relay_domains": "r.test",
            "relay_recipient_maps": f"{prefix}socketmap:inet:{server.address}:people",
            "smtpd_relay_restrictions": "reject_unauth_destination",
            "fastrelay_table_timeout": "600s",
        }
        with Fastrelay(main) as relay:
            delays(relay, "fast", 50)
            before = delays(relay, "fast", 400)
            with stalled(relay, 20) as clients:
                until(lambda: any(b" slow" in request for request in server.seen))
                end = time.monotonic() + STALL
                during = delays(relay, "fast", 400)
                while time.monotonic() < end:
                    during += delays(relay, "fast", 100)
                people.let_go.set()
                assert clients[0].getreply()[0] == 250  # answered only now
    during.sort()
    longest = [times[len(times) * 99 // 100] for times in (before, during)]
    assert longest[1] < 5 * longest[0] + 1.0, f"p99: {longest[0]:.4f} s without, {longest[1]:.4f} s with"


@pytest.mark.parametrize("prefix", [pytest.param("", marks=SLOW), "proxy:"])
def test_a_database_that_stops_and_comes_back(prefix: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="fastrelay-test-") as name,
        PostgreSQL(Path(name)) as server,
        KeepingSink() as sink,
    ):
        server.run(
            "INSERT INTO t VALUES ('bob@r.test', 'x', 1), ('eve@r.test', 'x', 1);"
            f"CREATE TABLE ways (k text, v text); GRANT SELECT ON ways TO relay;"
            f"INSERT INTO ways VALUES ('bob@r.test', 'smtp:{sink.next_hop}'), ('eve@r.test', 'smtp:{sink.next_hop}');"
        )
        files = {
            "people.cf": f"{server.parameters}query = SELECT v FROM t WHERE k = '%s'\n",
            "ways.cf": f"{server.parameters}query = SELECT v FROM ways WHERE k = '%s'\ndomain = r.test\n",
        }
        main = {
            "relay_domains": "r.test",
            "relay_recipient_maps": f"{prefix}pgsql:$config_directory/people.cf",
            "transport_maps": f"{prefix}pgsql:$config_directory/ways.cf",
            "smtpd_relay_restrictions": "reject_unauth_destination",
            "fastrelay_table_cache_time": "0",
            "fastrelay_table_retry_time": "0",
        }
        with Fastrelay(main, files) as relay:
            relay.send(recipients="bob@r.test")
            sink.wait(1)
            server.stop()
            with relay.smtp() as client:
                client.ehlo()
                client.mail("a@b.test")
                assert client.rcpt("eve@r.test") == (451, b"4.3.0 <eve@r.test>: Temporary lookup failure")
            relay.wait_log(r"pgsql:.*(people|ways)\.cf: .*(onnect|shut)")
            server.start()
            with relay.smtp() as client:
                until(lambda: _accepted(client, "eve@r.test"))
                server.stop()  # between RCPT and the queue manager
                client.data(b"Subject: x\r\n\r\nbody\r\n")
            relay.wait_log(r"to=<eve@r\.test>, relay=none, .*status=deferred \(address resolver failure\)")
            server.start()
            relay.tool("postqueue", "-f")
            sink.wait(2)
            assert re.search(r"to=<eve@r\.test>, .*status=sent", relay.log()) or relay.wait_log("status=sent")


def _accepted(client: smtplib.SMTP, recipient: str) -> bool:
    client.ehlo_or_helo_if_needed()
    client.rset()
    client.mail("a@b.test")
    return client.rcpt(recipient)[0] == 250
