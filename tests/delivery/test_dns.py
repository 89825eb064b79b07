"""dns.py against a real authoritative server on loopback: verdicts, order, caps, cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvloop

from fastrelay.borders import Status
from fastrelay.delivery.dns import LookupFailed, Resolver, port_number
from fastrelay.delivery.smtp_text import Failure
from support.dns_server import DnsServer
from support.smtp_delivery import resolver_settings


def lookup(zone: dict[str, Any], *next_hops: bytes, own: frozenset[str] = frozenset(), **changes: Any) -> Any:
    """What each look-up gave: a list of (host, address, port, preference), or a Failure."""

    async def main() -> Any:
        results = []
        async with DnsServer(zone) as server:
            settings = resolver_settings(fastrelay_dns_servers=(server.address,), **changes)
            resolver = Resolver(settings, own_addresses=own)
            for next_hop in next_hops:
                try:
                    servers = await resolver.servers(next_hop, next_hop)
                    results.append([(s.host, s.address, s.port, s.preference) for s in servers])
                except LookupFailed as failed:
                    results.append(failed.failure)
            return results, server.queries

    results, queries = uvloop.run(main())
    return (results[0] if len(next_hops) == 1 else results), queries


MAIL = {
    "there.test": ["MX 20 mx2.there.test.", "MX 10 mx1.there.test."],
    "mx1.there.test": ["A 192.0.2.1"],
    "mx2.there.test": ["A 192.0.2.2", "AAAA 2001:db8::2"],
}


def test_mx_by_preference():
    servers, _ = lookup(MAIL, b"there.test")
    assert servers == [
        ("mx1.there.test", "192.0.2.1", 25, 10),
        ("mx2.there.test", "192.0.2.2", 25, 20),
    ]


def test_equal_preference_is_shuffled():
    zone = {"x.test": [f"MX 5 m{i}.x.test." for i in range(5)]}
    zone |= {f"m{i}.x.test": [f"A 192.0.2.{i}"] for i in range(5)}
    results, _ = lookup(zone, *[b"x.test"] * 12)
    assert len({tuple(result) for result in results}) > 1
    plain, _ = lookup(zone, *[b"x.test"] * 5, smtp_randomize_addresses=False)
    assert all(result == plain[0] for result in plain)


@pytest.mark.parametrize(("preference", "first"), [("ipv6", "2001:db8::2"), ("ipv4", "192.0.2.2")])
def test_address_preference(preference: str, first: str):
    for _ in range(3):
        servers, _ = lookup(
            MAIL, b"[mx2.there.test]", inet_protocols=("all",), smtp_address_preference=preference
        )
        assert servers[0][1] == first
        assert len(servers) == 2


def test_brackets_and_ports():
    results, queries = lookup(
        MAIL, b"[mx2.there.test]:2525", b"there.test:26", b"[192.0.2.9]", b"[ipv6:2001:db8::1]:24"
    )
    assert results[0] == [("mx2.there.test", "192.0.2.2", 2525, 0)]
    assert [s[2] for s in results[1]] == [26, 26]
    assert results[2] == [("192.0.2.9", "192.0.2.9", 25, 0)]
    assert results[3] == [("2001:db8::1", "2001:db8::1", 24, 0)]
    assert ("mx2.there.test", "MX") not in queries


def test_no_mx_falls_back_to_the_address_and_cname_is_followed():
    results, _ = lookup(
        {"a.test": ["A 192.0.2.7"], "c.test": ["CNAME there.test."], **MAIL}, b"a.test", b"c.test"
    )
    assert results[0] == [("a.test", "192.0.2.7", 25, 0)]
    assert [s[0] for s in results[1]] == ["mx1.there.test", "mx2.there.test"]


def verdict(failure: Failure) -> tuple[Status, bytes, bytes]:
    assert isinstance(failure, Failure), failure
    return failure.status, failure.dsn, failure.text


def test_null_mx_bounces():
    failure, _ = lookup({"null.test": ["MX 0 .", "A 192.0.2.1"]}, b"null.test")
    assert verdict(failure) == (Status.BOUNCED, b"5.1.0", b"Domain null.test does not accept mail (nullMX)")


def test_nxdomain_bounces_and_servfail_defers():
    start = b"Host or domain name not found. Name service error for name="
    (gone, broken, no_data), _ = lookup(
        {"broken.test": "SERVFAIL", "empty.test": ["TXT hello"]}, b"gone.test", b"broken.test", b"empty.test"
    )
    silent, _ = lookup({"silent.test": "SILENT"}, b"silent.test", fastrelay_dns_timeout=0.3)
    assert verdict(gone) == (Status.BOUNCED, b"5.4.4", start + b"gone.test type=A: Host not found")
    assert verdict(broken) == (
        Status.DEFERRED,
        b"4.4.3",
        start + b"broken.test type=MX: Host not found, try again",
    )
    assert verdict(silent) == (
        Status.DEFERRED,
        b"4.4.3",
        start + b"silent.test type=MX: Host not found, try again",
    )
    assert no_data.dsn == b"5.4.4"
    assert no_data.text.endswith(b"Host found but no data record of requested type")


def test_no_name_server_at_all_defers():
    async def main() -> None:
        resolver = Resolver(resolver_settings(fastrelay_dns_timeout=0.3))
        with pytest.raises(LookupFailed) as failed:
            await resolver.servers(b"there.test", b"there.test")
        assert failed.value.failure.dsn == b"4.4.3"

    asyncio.run(main())


def test_mx_without_addresses():
    zone = {"x.test": ["MX 5 gone.x.test.", "MX 6 broken.x.test."], "broken.x.test": "SERVFAIL"}
    failure, _ = lookup(zone, b"x.test")
    assert (failure.status, failure.dsn) == (Status.DEFERRED, b"4.4.3")
    failure, _ = lookup({"x.test": ["MX 5 gone.x.test."]}, b"x.test")
    assert (failure.status, failure.dsn) == (Status.BOUNCED, b"5.4.4")
    failure, _ = lookup({"x.test": ["MX 5 gone.x.test."]}, b"x.test", smtp_defer_if_no_mx_address_found=True)
    assert (failure.status, failure.dsn) == (Status.DEFERRED, b"4.4.4")


@pytest.mark.parametrize(
    "record", ["MX 5 192.0.2.1.", "MX 5 a\\010b.test.", "MX 5 a/b.test.", "MX 5 -x.test."]
)
def test_mx_that_is_no_host_name(record: str):
    failure, queries = lookup({"x.test": [record]}, b"x.test")
    assert (failure.status, failure.dsn) == (Status.BOUNCED, b"5.4.4")
    assert [kind for _, kind in queries] == ["MX"]


def test_own_name_and_own_address_cut_off():
    zone = {
        "x.test": ["MX 10 mx1.there.test.", "MX 20 relay.test.", "MX 30 mx2.there.test."],
        "y.test": ["MX 10 relay.test.", "MX 30 mx2.there.test."],
        "z.test": ["MX 10 mx2.there.test.", "MX 20 mx1.there.test."],
        "relay.test": ["A 192.0.2.99"],
        **MAIL,
    }
    (x, y, z), _ = lookup(zone, b"x.test", b"y.test", b"z.test", own=frozenset({"192.0.2.2"}))
    assert [s[0] for s in x] == ["mx1.there.test"]
    assert verdict(y) == (Status.BOUNCED, b"5.4.6", b"mail for y.test loops back to myself")
    assert verdict(z) == (Status.BOUNCED, b"5.4.6", b"mail for z.test loops back to myself")
    other_port, _ = lookup(zone, b"y.test:2525")  # as in Postfix: loops are looked for on the SMTP port only
    assert len(other_port) == 2


def test_forbidden_networks_hold_for_the_recipients_own_domain_only():
    zone = {"evil.test": ["MX 5 localhost.evil.test."], "localhost.evil.test": ["A 127.0.0.1"]}

    async def main() -> None:
        async with DnsServer(zone) as server:
            resolver = Resolver(
                resolver_settings(
                    fastrelay_dns_servers=(server.address,),
                    fastrelay_mx_forbidden_networks=("127.0.0.0/8", "10.0.0.0/8"),
                )
            )
            with pytest.raises(LookupFailed) as failed:
                await resolver.servers(b"evil.test", b"evil.test")
            assert failed.value.failure.dsn == b"5.4.4"
            with pytest.raises(LookupFailed):
                await resolver.servers(b"[127.0.0.1]", b"[127.0.0.1]")
            with pytest.raises(LookupFailed):
                await resolver.servers(b"[::ffff:10.1.2.3]", b"[::ffff:10.1.2.3]")
            assert await resolver.servers(b"evil.test", b"other.test")  # transport table, relayhost
            assert await resolver.servers(b"[127.0.0.1]:25", b"evil.test")

    uvloop.run(main())


def test_caps():
    zone: dict[str, Any] = {"x.test": [f"MX {i} m{i}.x.test." for i in range(150)]}
    zone |= {f"m{i}.x.test": [f"A 192.0.2.{j}" for j in range(1, 30)] for i in range(150)}
    servers, queries = lookup(zone, b"x.test")
    assert len(servers) == 5
    assert len(queries) < 60


def test_balance_between_protocols():
    zone = {"x.test": ["A 192.0.2.1", *[f"AAAA 2001:db8::{i}" for i in range(1, 8)]]}
    for _ in range(5):
        servers, _ = lookup(zone, b"[x.test]", inet_protocols=("all",), smtp_address_preference="ipv6")
        assert len(servers) == 5
        assert sum("." in s[1] for s in servers) == 1


def test_cache_single_flight_and_negative_cache():
    async def main() -> None:
        zone = {"slow.test": ("SLOW", 0.1, ["A 192.0.2.1"]), "down.test": "SERVFAIL"}
        async with DnsServer(zone) as server:
            now = [1000.0]
            settings = resolver_settings(fastrelay_dns_servers=(server.address,))
            resolver = Resolver(settings, now=lambda: now[0])
            await asyncio.gather(*[resolver.servers(b"[slow.test]", b"x") for _ in range(50)])
            assert len(server.queries) == 1
            for _ in range(5):
                with pytest.raises(LookupFailed):
                    await resolver.servers(b"[down.test]", b"x")
            assert sum(name == "down.test" for name, _ in server.queries) == 1
            before = len(server.queries)
            now[0] += 301  # the records' TTL is over
            await resolver.servers(b"[slow.test]", b"x")
            assert len(server.queries) == before + 1

    uvloop.run(main())


@pytest.mark.parametrize("next_hop", [b"", b"[", b"[]", b"[a", b"a b", b"a..b", b"[a]b", b"\xff.test"])
def test_bad_next_hops(next_hop: bytes):
    failure, _ = lookup({}, next_hop)
    assert (failure.status, failure.dsn) == (Status.BOUNCED, b"5.4.4")


def test_bad_port_defers():
    failure, _ = lookup({}, b"[192.0.2.1]:nosuchport")
    assert (failure.status, failure.dsn) == (Status.DEFERRED, b"4.3.5")
    assert port_number("smtp") == 25


def test_native_lookup_knows_localhost():
    results, queries = lookup(
        {}, b"[localhost]:26", b"nosuch.invalid", disable_dns_lookups=True, smtp_host_lookup=("native",)
    )
    assert results[0] == [("localhost", "127.0.0.1", 26, 0)]
    assert results[1].status in (Status.BOUNCED, Status.DEFERRED)
    assert not queries
