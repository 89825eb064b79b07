"""A relay whose recipients and routes are in LDAP: the server stops and starts again, and the server stalls."""

from __future__ import annotations

import smtplib
import statistics
import threading
import time
from pathlib import Path

import pytest

from support.keeping_sink import KeepingSink
from support.ports import free_port
from support.relay import Fastrelay
from support.remote_servers import Slapd
from support.stalling_proxy import StallingProxy

pytest.importorskip(
    "ldap", reason="python-ldap is not here: apt-get install libldap-dev libsasl2-dev, then make"
)

STALL = 3.0
BASE = "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: test\ndc: test\n\n"
TABLE = """\
server_host = ldap://127.0.0.1:{port}
search_base = dc=test
query_filter = mailacceptinggeneralid=%s
result_attribute = maildrop
bind = no
timeout = 100
"""
KEEP_NOTHING = {
    "fastrelay_table_cache_time": "0",
    "fastrelay_table_negative_cache_time": "0",
    "fastrelay_table_retry_time": "0",
}


def person(name: str, value: str) -> str:
    return (
        f"dn: cn={name},dc=test\nobjectClass: device\nobjectClass: mailThing\ncn: {name}\n"
        f"mailacceptinggeneralid: {name}@there.test\nmaildrop: {value}\n\n"
    )


@pytest.fixture
def slapd(tmp_path: Path):
    with Slapd(tmp_path, BASE + "".join(person(f"u{n}", "OK") for n in range(40))) as server:
        yield server


def rcpt(relay: Fastrelay, name: str) -> tuple[int, bytes]:
    with relay.smtp() as client:
        client.ehlo()
        client.mail("a@client.test")
        return client.rcpt(f"{name}@there.test")


def test_ldap_stops_and_starts_again(tmp_path: Path, slapd: Slapd):
    routes = tmp_path / "routes"
    routes.mkdir()
    sink_port = free_port()
    route = f"dn: cn=route,dc=test\nobjectClass: device\nobjectClass: mailThing\ncn: route\n\
mailacceptinggeneralid: there.test\nmaildrop: smtp:[127.0.0.1]:{sink_port}\n"
    with Slapd(routes, BASE + route) as router:
        main = {
            **KEEP_NOTHING,
            "relay_domains": "there.test",
            "mynetworks": "",
            "relay_recipient_maps": "ldap:$config_directory/people.cf",
            "transport_maps": "ldap:$config_directory/routes.cf",
        }
        files = {"people.cf": TABLE.format(port=slapd.port), "routes.cf": TABLE.format(port=router.port)}
        with Fastrelay(main, files) as relay:
            assert rcpt(relay, "u1")[0] == 250
            assert rcpt(relay, "nobody") == (
                550,
                b"5.1.1 <nobody@there.test>: Recipient address rejected: User unknown in relay recipient table",
            )
            slapd.stop()
            refused = (451, b"4.3.0 <u1@there.test>: Temporary lookup failure")
            assert [rcpt(relay, "u1"), rcpt(relay, "u1")] == [refused, refused]
            relay.wait_log(r"warning: ldap:\S+people.cf: Connection refused")
            slapd.start()
            assert rcpt(relay, "u1")[0] == 250
            assert rcpt(relay, "nobody")[0] == 550

            # the next hop is down, so the message waits; then its route cannot be looked up
            queue_id = relay.send(recipients="u2@there.test")
            relay.wait_log(rf"{queue_id}: .*status=deferred \(connect to")
            router.stop()
            relay.tool("postqueue", "-f")
            relay.wait_log(rf"{queue_id}: .*dsn=4\.\d\.\d, status=deferred \(.*(resolver|lookup)")
            relay.wait_log(r"warning: ldap:\S+routes.cf: Connection refused")
            assert queue_id in relay.tool("postqueue", "-p")
            router.start()
            with KeepingSink(port=sink_port) as sink:
                relay.tool("postqueue", "-f")
                relay.wait_log(rf"{queue_id}: .*status=sent")
                assert sink.wait(1)


def test_a_stalled_ldap_server_holds_nobody_else_up(slapd: Slapd):
    """A lookup stalls for seconds: that session's answer comes then, and the others' at once, as before."""
    with StallingProxy(slapd.port) as proxy:
        main = {
            "relay_domains": "there.test, $mydestination, quick.test",
            "mynetworks": "",
            "fastrelay_workers": 1,
            "smtpd_junk_command_limit": 1_000_000,
            "relay_recipient_maps": "inline:{ quick@quick.test=OK }, ldap:$config_directory/people.cf",
        }
        with Fastrelay(main, {"people.cf": TABLE.format(port=proxy.port)}) as relay:
            assert rcpt(relay, "u1")[0] == 250  # kept from now on
            calm = rounds(relay, 1.5)
            proxy.stall()
            answers: dict[str, tuple[float, int]] = {}
            waiting = [
                threading.Thread(target=ask_late, args=(relay, f"u{n}", answers), daemon=True)
                for n in range(10, 16)
            ]
            for thread in waiting:
                thread.start()
            stalled = rounds(relay, STALL)
            assert not answers
            proxy.go_on()
            for thread in waiting:
                thread.join(60)
            assert {code for _, code in answers.values()} == {250}
            assert min(seconds for seconds, _ in answers.values()) >= STALL
    assert len(stalled) > 50
    print(f"p99 of RCPT: calm {p99(calm) * 1e3:.2f} ms, LDAP stalled {p99(stalled) * 1e3:.2f} ms")
    assert p99(stalled) < p99(calm) + 1.0


def ask_late(relay: Fastrelay, name: str, answers: dict[str, tuple[float, int]]) -> None:
    begun = time.monotonic()
    code = rcpt(relay, name)[0]
    answers[name] = (time.monotonic() - begun, code)


def rounds(relay: Fastrelay, seconds: float) -> list[float]:
    """How long RCPTs took whose answer is local, or is an LDAP server's and kept."""
    times: list[float] = []
    end = time.monotonic() + seconds
    with smtplib.SMTP(relay.host, relay.port, timeout=60) as client:
        client.ehlo()
        while time.monotonic() < end:
            client.mail("a@client.test")
            for name in ("quick@quick.test", "u1@there.test"):
                begun = time.monotonic()
                assert client.rcpt(name)[0] == 250
                times.append(time.monotonic() - begun)
            client.rset()
            time.sleep(0.005)
    return times


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def test_a_table_that_follows_the_directory(tmp_path: Path, slapd: Slapd):
    """sync-table copies what the directory lists, and keeps the copy when the directory is down."""
    with Fastrelay({}, {"people.cf": TABLE.format(port=slapd.port)}) as relay:
        source, target = f"ldap:{relay.etc}/people.cf", f"hash:{relay.etc}/people"
        assert relay.run_tool("sync-table", source, target).returncode == 0
        assert sorted(relay.tool("postmap", "-s", target).split()[::2]) == sorted(
            f"u{n}@there.test" for n in range(40)
        )
        slapd.stop()
        broken = relay.run_tool("sync-table", source, target)
        assert broken.returncode == 3, broken
        assert b"Connection refused" in broken.stderr
        assert relay.tool("postmap", "-q", "u7@there.test", target) == "OK\n"
