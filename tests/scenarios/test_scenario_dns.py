"""Where the DNS says mail goes: MX preferences and fail-over, null MX, CNAME, address records, and no answer.

The relay asks a real authoritative server on loopback. Sinks on 127.0.0.x:PORT are the mail exchangers; the
port is smtp_tcp_port, as 25 is in the world.
"""

from collections.abc import Iterator

import pytest
from scenario_parts import Notice, dns

from support.keeping_sink import KeepingSink
from support.ports import free_port
from support.relay import Fastrelay, until

A, B = "127.0.0.11", "127.0.0.12"


class World:
    """A relay, its DNS zone, and two exchangers; `sender.test` is at B."""

    def __init__(self, zone: dict[str, object], relay: Fastrelay, a: KeepingSink, b: KeepingSink) -> None:
        self.zone, self.relay, self.a, self.b = zone, relay, a, b

    def send(self, domain: str, *records: str) -> str:
        self.zone[domain] = list(records)
        return self.relay.send("me@sender.test", f"you@{domain}")

    def sent(self, queue_id: str) -> str:
        return self.relay.wait_log(rf"{queue_id}: to=<you@.*>, relay=(\S+), .*status=sent")[1]

    def bounced(self, queue_id: str) -> str:
        """dsn and reason; the notice has come to the sender."""
        match = self.relay.wait_log(
            rf"{queue_id}: to=<you@(.*)>, relay=none, .*dsn=(\S+), status=bounced \((.*)\)$"
        )
        address = f"rfc822; you@{match[1]}"

        def told() -> list[Notice]:
            return [n for n in map(Notice, self.notices()) if n.recipients[0]["Final-Recipient"] == address]

        (notice,) = until(told, self.relay.log)
        assert notice.recipients[0]["Status"] == match[2]
        return f"{match[2]} {match[3]}"

    def notices(self) -> list[bytes]:
        return [kept.content for kept in self.b.messages if kept.sender.split()[0] == b"<>"]

    def deferred(self, queue_id: str) -> str:
        match = self.relay.wait_log(
            rf"{queue_id}: to=<.*>, relay=none, .*dsn=(\S+), status=deferred \((.*)\)$"
        )
        return f"{match[1]} {match[2]}"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    port = free_port(A)
    zone: dict[str, object] = {
        "a.mx.test": [f"A {A}"],
        "b.mx.test": [f"A {B}"],
        "dead.mx.test": ["A 127.0.0.13"],  # nobody listens there
        "sender.test": ["MX 10 b.mx.test."],
    }
    with (
        dns(zone) as server,
        KeepingSink(host=A, port=port) as a,
        KeepingSink(host=B, port=port) as b,
        Fastrelay(
            {"fastrelay_dns_servers": server.address, "fastrelay_dns_timeout": "5s", "smtp_tcp_port": port}
        ) as relay,
    ):
        yield World(zone, relay, a, b)


def test_the_lowest_preference_comes_first(world: World) -> None:
    queue_id = world.send("prefers.test", "MX 20 b.mx.test.", "MX 10 a.mx.test.")
    assert world.sent(queue_id).startswith(f"a.mx.test[{A}]:")


def test_a_refused_connection_fails_over(world: World) -> None:
    queue_id = world.send("failover.test", "MX 10 dead.mx.test.", "MX 20 a.mx.test.")
    assert world.sent(queue_id).startswith(f"a.mx.test[{A}]:")
    world.relay.wait_log(r"connect to dead\.mx\.test\[127\.0\.0\.13\]:\d+: Connection refused")


def test_a_busy_exchanger_fails_over(world: World) -> None:
    """A 4xx greeting of the first: the second gets the mail."""
    world.a.reply = lambda stage, argument: b"421 4.3.2 busy" if stage == "CONNECT" else None
    try:
        queue_id = world.send("busy.test", "MX 10 a.mx.test.", "MX 20 b.mx.test.")
        assert world.sent(queue_id).startswith(f"b.mx.test[{B}]:")
    finally:
        world.a.reply = None


def test_exchangers_of_equal_preference_share(world: World) -> None:
    """With randomize, forty messages to forty domains do not all go to one of the two."""
    world.zone["equal.test"] = ["MX 10 a.mx.test.", "MX 10 b.mx.test."]
    before = len(world.a.messages), len(world.b.messages)
    for number in range(40):
        world.zone[f"equal{number}.test"] = world.zone["equal.test"]
    with world.relay.smtp() as client:
        for number in range(40):
            client.sendmail("me@sender.test", f"you@equal{number}.test", b"Subject: x\r\n\r\nx\r\n")
    until(lambda: len(world.a.messages) + len(world.b.messages) - sum(before) >= 40, world.relay.log)
    assert len(world.a.messages) > before[0]
    assert len(world.b.messages) > before[1]


def test_a_null_mx_bounces(world: World) -> None:
    reason = world.bounced(world.send("null.test", "MX 0 ."))
    assert reason == "5.1.0 Domain null.test does not accept mail (nullMX)"


def test_an_alias_is_followed(world: World) -> None:
    world.zone["real.test"] = ["MX 10 a.mx.test."]
    assert world.sent(world.send("alias.test", "CNAME real.test.")).startswith(f"a.mx.test[{A}]:")


def test_a_domain_without_mx_is_its_own_host(world: World) -> None:
    assert world.sent(world.send("hostonly.test", f"A {A}")).startswith(f"hostonly.test[{A}]:")


def test_a_domain_that_does_not_exist_bounces(world: World) -> None:
    queue_id = world.relay.send("me@sender.test", "you@nowhere.test")
    assert world.bounced(queue_id) == (
        "5.4.4 Host or domain name not found. Name service error for name=nowhere.test type=A: Host not found"
    )


def test_an_exchanger_that_does_not_exist_bounces(world: World) -> None:
    queue_id = world.send("dangling.test", "MX 10 gone.mx.test.")
    assert world.bounced(queue_id) == (
        "5.4.4 Host or domain name not found. Name service error for name=gone.mx.test type=A: Host not found"
    )


def test_a_server_failure_defers_until_it_answers(world: World) -> None:
    world.zone["broken.test"] = "SERVFAIL"
    queue_id = world.relay.send("me@sender.test", "you@broken.test")
    assert world.deferred(queue_id) == (
        "4.4.3 Host or domain name not found. Name service error for name=broken.test type=MX: "
        "Host not found, try again"
    )
    world.zone["broken.test"] = ["MX 10 a.mx.test."]

    def delivered() -> bool:
        world.relay.tool("postqueue", "-f")
        return f"{queue_id}: to=<you@broken.test>, relay=a.mx.test" in world.relay.log()

    until(delivered, world.relay.log)  # the failure was remembered for a few seconds


def test_a_silent_server_defers(world: World) -> None:
    world.zone["silent.test"] = "SILENT"
    queue_id = world.relay.send("me@sender.test", "you@silent.test")
    assert world.deferred(queue_id).startswith("4.4.3 ")


def test_brackets_ask_for_no_mx(world: World) -> None:
    """A next hop in brackets is the host itself, whatever its MX says."""
    world.zone["bracket.test"] = [f"A {B}", "MX 10 a.mx.test."]
    with (
        KeepingSink(host=B) as sink,
        dns(world.zone) as server,
        Fastrelay(
            {
                "relayhost": f"[bracket.test]:{sink.port}",
                "fastrelay_dns_servers": server.address,
                "fastrelay_dns_timeout": "30s",
            }
        ) as relay,
    ):
        relay.send("me@sender.test", "you@any.test")
        assert len(sink.wait(1)) == 1
        assert relay.wait_log(rf"relay=bracket\.test\[{B}\]:{sink.port}, .*status=sent")
