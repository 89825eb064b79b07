"""From a next hop to the servers to try: MX, A and AAAA by dnspython, decisions cached (RFC 5321 5.1, 7505).

SmtpAgent awaits Resolver.servers() before it connects. What the DNS says is hostile input: records, hosts
and time are capped, names checked, and addresses that only this machine or its network can reach are
refused unless the configuration named the destination. "Cannot tell" defers, "does not exist" bounces.
A decision is cached for its records' TTL within bounds; one look-up at a time for each destination.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from fastrelay.borders import Status
from fastrelay.delivery import mx
from fastrelay.delivery.mx import NextHop, Server
from fastrelay.delivery.smtp_settings import ResolverSettings
from fastrelay.delivery.smtp_text import Failure, bounced, deferred

RECORD_LIMIT = 100  # of one answer (Postfix 3.9)
HOST_LIMIT = 20  # mail exchangers whose addresses are asked for
TTL_FLOOR = 10.0
TTL_CEILING = 3600.0
NEGATIVE_TTL = 60.0
FAILURE_TTL = 5.0  # a broken name server is not asked for each of a thousand messages
CACHE_LIMIT = 10_000
IMPOSSIBLE_PREFERENCE = 1 << 16


class LookupFailed(Exception):
    """There is no server to try; `failure` is the verdict on the deliveries."""

    def __init__(self, failure: Failure, ttl: float = NEGATIVE_TTL) -> None:
        super().__init__(failure.text.decode("ascii", "replace"))
        self.failure = failure
        self.ttl = ttl


@dataclass(frozen=True, slots=True)
class Decision:
    """Servers in no particular order, or why there are none."""

    servers: tuple[Server, ...]
    failure: Failure | None
    expires: float


@dataclass(frozen=True, slots=True)
class _Answer:
    values: tuple[tuple[int, str], ...]  # (preference, host) or (0, address)
    ttl: float
    trouble: str = ""  # Postfix's words when there are no values
    temporary: bool = False


class Resolver:
    def __init__(
        self,
        settings: ResolverSettings,
        *,
        own_addresses: frozenset[str] = frozenset(),
        log: Callable[[bytes], None] = lambda text: None,
        now: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._own_addresses = own_addresses
        self._log = log
        self._now = now
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._forbidden = mx.parse_networks(settings.fastrelay_mx_forbidden_networks)
        self._resolver = _make_resolver(settings)
        self._smtp_port = port_number(settings.smtp_tcp_port)
        self._use_dns = not settings.disable_dns_lookups
        if settings.smtp_dns_support_level:
            self._use_dns = settings.smtp_dns_support_level != "disabled"
        wanted = set(settings.inet_protocols)
        self._types = [kind for kind, name in (("A", "ipv4"), ("AAAA", "ipv6")) if wanted & {name, "all"}]
        self._cache: dict[NextHop, Decision] = {}
        self._asking: dict[NextHop, asyncio.Task[Decision]] = {}

    async def servers(
        self, next_hop: bytes, recipient_domain: bytes, avoid: Collection[tuple[str, int]] = ()
    ) -> list[Server]:
        """The servers to try, in order; LookupFailed says why there are none."""
        settings = self._settings
        try:
            hop = mx.parse_next_hop(next_hop, settings.smtp_tcp_port)
        except ValueError as error:
            text = f"Name service error for {_ascii(next_hop)}: invalid host or domain name ({error})"
            raise LookupFailed(bounced(b"5.4.4", text.encode("ascii", "replace"))) from error
        decision = self._cache.get(hop)
        if decision is None or decision.expires <= self._now():
            decision = await self._decide_once(hop)
        if decision.failure is not None:
            raise LookupFailed(decision.failure)
        allowed = list(decision.servers)
        if next_hop == recipient_domain:  # whoever owns the domain chose it, not our configuration
            allowed = self._permitted(next_hop, allowed)
        return mx.order(
            allowed,
            self._chance,
            randomize=settings.smtp_randomize_addresses,
            preferred=settings.smtp_address_preference,
            limit=settings.smtp_mx_address_limit,
            balance=settings.smtp_balance_inet_protocols,
            avoid=avoid,
        )

    def _permitted(self, next_hop: bytes, servers: list[Server]) -> list[Server]:
        allowed = [s for s in servers if not mx.is_inside(s.address, self._forbidden)]
        if not allowed:
            refused = ", ".join(sorted({f"{s.host}[{s.address}]" for s in servers}))
            text = f"mail for {_ascii(next_hop)} is not sent to forbidden address {refused}"
            raise LookupFailed(bounced(b"5.4.4", text.encode("ascii", "replace")))
        return allowed

    async def _decide_once(self, hop: NextHop) -> Decision:
        """Single flight: whoever asks meanwhile waits for the same answer."""
        task = self._asking.get(hop)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._decide(hop))
            self._asking[hop] = task
            task.add_done_callback(lambda done: self._asking.pop(hop, None))
        decision = await asyncio.shield(task)
        while len(self._cache) >= CACHE_LIMIT:
            self._cache.pop(next(iter(self._cache)))
        self._cache[hop] = decision
        return decision

    async def _decide(self, hop: NextHop) -> Decision:
        try:
            port = port_number(hop.port)
            if mx.is_address(hop.host) and not hop.use_mx:
                return Decision((Server(hop.host, hop.host, port),), None, self._now() + TTL_CEILING)
            if hop.use_mx and self._use_dns:
                servers, ttl = await self._mail_exchangers(hop.host, port)
            else:
                servers, ttl = await self._host(hop.host, port)
        except LookupFailed as failed:
            return Decision((), failed.failure, self._now() + failed.ttl)
        ttl = min(max(ttl, TTL_FLOOR), TTL_CEILING)
        return Decision(tuple(servers), None, self._now() + ttl)

    async def _mail_exchangers(self, domain: str, port: int) -> tuple[list[Server], float]:
        answer = await self._ask(domain, "MX")
        if answer.temporary and not self._settings.ignore_mx_lookup_error:
            raise LookupFailed(_not_found(domain, "MX", answer), FAILURE_TTL)
        if not answer.values:
            return await self._host(domain, port)
        if answer.values == ((0, ""),):
            text = f"Domain {domain} does not accept mail (nullMX)"
            raise LookupFailed(bounced(b"5.1.0", text.encode()), max(answer.ttl, TTL_FLOOR))
        return await self._better_than_ourselves(domain, port, sorted(answer.values), answer.ttl)

    async def _better_than_ourselves(
        self, domain: str, port: int, exchangers: list[tuple[int, str]], ttl: float
    ) -> tuple[list[Server], float]:
        """Mail never goes to a server that is equal to or worse than ourselves (RFC 5321 5.1)."""
        if port != self._smtp_port:
            return await self._addresses_of(domain, exchangers, port, ttl)
        own_name = self._settings.myhostname.lower()
        best = exchangers[0][0]
        cut = min(
            [pref for pref, host in exchangers if host.lower() == own_name], default=IMPOSSIBLE_PREFERENCE
        )
        servers: list[Server] = []
        try:
            better = [exchanger for exchanger in exchangers if exchanger[0] < cut]
            servers, ttl = await self._addresses_of(domain, better, port, ttl)
        except LookupFailed:
            if cut == IMPOSSIBLE_PREFERENCE:
                raise
        cut = min([cut, *[s.preference for s in servers if s.address in self._own_addresses]])
        servers = [server for server in servers if server.preference < cut]
        if servers:
            return servers, ttl
        if best >= cut:
            raise LookupFailed(bounced(b"5.4.6", f"mail for {domain} loops back to myself".encode()))
        raise LookupFailed(deferred(b"4.4.4", f"unable to find primary relay for {domain}".encode()))

    async def _addresses_of(
        self, domain: str, exchangers: list[tuple[int, str]], port: int, ttl: float
    ) -> tuple[list[Server], float]:
        """All servers of the mail exchangers; those without an address do not count while others have one."""
        servers: list[Server] = []
        trouble: LookupFailed | None = None
        chosen = exchangers[:HOST_LIMIT]
        found = await asyncio.gather(
            *[self._host(host, port, pref) for pref, host in chosen], return_exceptions=True
        )
        for result in found:
            if isinstance(result, LookupFailed):
                if trouble is None or result.failure.status is Status.DEFERRED:
                    trouble = result
            elif isinstance(result, BaseException):
                raise result
            else:
                servers += result[0]
                ttl = min(ttl, result[1])
        if not servers and trouble is not None:
            self._log(b"warning: no MX host for %s has a valid address record" % domain.encode("ascii"))
            if self._settings.smtp_defer_if_no_mx_address_found:
                trouble = LookupFailed(deferred(b"4.4.4", trouble.failure.text), trouble.ttl)
            raise trouble
        return servers, ttl

    async def _host(self, host: str, port: int, preference: int = 0) -> tuple[list[Server], float]:
        """The addresses of one host, by the ways of smtp_host_lookup."""
        if not mx.is_host_name(host):
            text = f"Name service error for {host}: invalid host or domain name"
            raise LookupFailed(bounced(b"5.4.4", text.encode("ascii", "replace")))
        ways = self._settings.smtp_host_lookup if self._use_dns else ("native",)
        failure = LookupFailed(deferred(b"4.3.5", b"smtp_host_lookup names no way to look up hosts"))
        for way in ("dns", "native"):
            if way not in ways:
                continue
            try:
                addresses, ttl = await (self._dns_addresses if way == "dns" else self._native_addresses)(host)
                return [Server(host, address, port, preference) for address in addresses], ttl
            except LookupFailed as failed:
                failure = failed
        raise failure

    async def _dns_addresses(self, host: str) -> tuple[list[str], float]:
        answers = await asyncio.gather(*[self._ask(host, kind) for kind in self._types])
        addresses = [address for answer in answers for _, address in answer.values]
        if addresses:
            return addresses, min(answer.ttl for answer in answers if answer.values)
        worst = max(range(len(answers)), key=lambda i: (answers[i].temporary, i))
        answer = answers[worst]
        raise LookupFailed(
            _not_found(host, self._types[worst], answer), FAILURE_TTL if answer.temporary else NEGATIVE_TTL
        )

    async def _native_addresses(self, host: str) -> tuple[list[str], float]:
        """nsswitch.conf's way, /etc/hosts among it; a thread of the loop's executor waits for it."""
        families = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            text = f"unable to look up host {host}: {error.strerror}".encode("ascii", "replace")
            if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                raise LookupFailed(bounced(b"5.4.4", text)) from error
            raise LookupFailed(deferred(b"4.4.3", text), FAILURE_TTL) from error
        wanted = {families[kind] for kind in self._types}
        addresses = [str(entry[4][0]) for entry in found if entry[0] in wanted]
        if not addresses:
            text = f"{host}: host not found".encode("ascii", "replace")
            raise LookupFailed(bounced(b"5.4.4", text))
        return addresses, NEGATIVE_TTL

    async def _ask(self, name: str, kind: str) -> _Answer:
        try:
            answer = await self._resolver.resolve(
                name + ".",
                kind,
                search=False,
                raise_on_no_answer=False,
                lifetime=self._settings.fastrelay_dns_timeout,
            )
        except dns.resolver.NXDOMAIN:
            return _Answer((), NEGATIVE_TTL, "Host not found")
        except (dns.exception.DNSException, OSError):  # SERVFAIL, time-out, loops, garbage, no network
            return _Answer((), FAILURE_TTL, "Host not found, try again", temporary=True)
        ttl = float(answer.chaining_result.minimum_ttl)
        if answer.rrset is None:
            return _Answer((), ttl, "Host found but no data record of requested type")
        if kind == "MX":
            values = [(r.preference, r.exchange.to_text(omit_final_dot=True)) for r in answer.rrset]
            values = [(pref, "" if host == "." else host) for pref, host in values]
        else:
            values = [(0, r.address) for r in answer.rrset]
        return _Answer(tuple(values[:RECORD_LIMIT]), ttl)


def _not_found(name: str, kind: str, answer: _Answer) -> Failure:
    text = (
        f"Host or domain name not found. Name service error for name={name} type={kind}: {answer.trouble}"
    ).encode("ascii", "replace")
    return deferred(b"4.4.3", text) if answer.temporary else bounced(b"5.4.4", text)


def port_number(port: str) -> int:
    """A number or a service's name; LookupFailed (configuration: 4.3.5) when it is neither."""
    if port.isdecimal() and 0 < int(port) < 65536:
        return int(port)
    try:
        return socket.getservbyname(port, "tcp")
    except OSError as error:
        if port == "smtp":
            return 25
        text = f"bad network port: {port}".encode("ascii", "replace")
        raise LookupFailed(deferred(b"4.3.5", text)) from error


def _make_resolver(settings: ResolverSettings) -> dns.asyncresolver.Resolver:
    if not settings.fastrelay_dns_servers:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers = ["127.0.0.1"]  # as resolv.conf(5) says for a machine without the file
            return resolver
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [_name_server(text) for text in settings.fastrelay_dns_servers]
    return resolver


def _name_server(text: str) -> dns.nameserver.Do53Nameserver:
    """`127.0.0.1:5353`, `[::1]:53`, `::1` or `127.0.0.1`; ValueError when it is none of them."""
    host, port = text, "53"
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not mx.is_address(host) or not port.isdecimal():
        raise ValueError(f"fastrelay_dns_servers: {text} is not address, address:port or [address]:port")
    return dns.nameserver.Do53Nameserver(host, int(port))


def _ascii(text: bytes) -> str:
    return text.decode("ascii", "replace")
