"""The configuration as the whole relay judges it: what config finds by itself, and what only the rooms know.

`start`, `reload` and `check` load it here, so that what one refuses the others refuse too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path

from fastrelay import config as files
from fastrelay.cleanup._headers import HeaderCleaner
from fastrelay.config import Config, ConfigError, Service, section, usage
from fastrelay.delivery.dns import LookupFailed, Resolver, port_number
from fastrelay.delivery.mailbox_settings import MailboxSettings
from fastrelay.delivery.mx import parse_networks, parse_next_hop
from fastrelay.delivery.smtp_settings import ResolverSettings, SmtpSettings
from fastrelay.log import LogSettings
from fastrelay.master import listeners
from fastrelay.master.errors import FatalError
from fastrelay.master.routing import own_addresses
from fastrelay.smtpd import local_clients, restrictions
from fastrelay.smtpd.settings import SmtpdSettings
from fastrelay.tables.text import split_list

DELIVERED = frozenset({"smtp", "local", "virtual", "error", "discard"})
OWN = DELIVERED | {"smtpd"}  # what a worker runs by its line in master.cf
TRANSPORTS = {  # and the domains that they are for
    "default_transport": "",
    "relay_transport": "relay_domains",
    "local_transport": "mydestination",
    "virtual_transport": "virtual_mailbox_domains",
}
LASTING = (
    "enable_long_queue_ids",
    "fastrelay_segment_size",
    "fastrelay_relocation_rate",
    "fastrelay_commit_deadline",
)
BUILT_IN = frozenset(  # what master.cf names and a worker does without a process of its own
    {
        "cleanup",
        "qmgr",
        "oqmgr",
        "trivial-rewrite",
        "bounce",
        "proxymap",
        "anvil",
        "scache",
        "showq",
        "postlogd",
    }
)


def load(directory: Path) -> Config:
    """ConfigError also when an smtpd service would be an open relay."""
    config = files.load(directory)
    for service in _smtpd_services(config):
        settings = section(SmtpdSettings, config, service.overrides)
        try:
            restrictions.require_guard(settings)
        except restrictions.RestrictionError as error:
            value = ", ".join(settings.smtpd_relay_restrictions)
            file = str(config.directory / "main.cf")
            raise ConfigError(file, 0, "smtpd_relay_restrictions", value, str(error)) from None
    _try_rooms(config)
    return config


def _try_rooms(config: Config) -> None:
    """What a room would choke on is refused here: a worker that cannot be made is made again, for ever."""
    resolver = section(ResolverSettings, config)
    interfaces = config.text("inet_interfaces").replace(",", " ").split()
    attempts: list[tuple[str, Callable[[], object]]] = [
        ("inet_interfaces", lambda: listeners.addresses("", 0, interfaces, list(listeners.WILDCARDS))),
        ("proxy_interfaces", lambda: list(map(ip_address, own_addresses(config)))),
        ("fastrelay_mx_forbidden_networks", lambda: parse_networks(resolver.fastrelay_mx_forbidden_networks)),
        ("smtp_tcp_port", lambda: port_number(resolver.smtp_tcp_port)),
        ("fastrelay_dns_servers", lambda: Resolver(resolver)),
    ]
    attempts += _try_cleaners(config)
    for service in config.services:
        if service.command == "smtp":
            port = section(SmtpSettings, config, service.overrides).smtp_tcp_port
            attempts.append(("smtp_tcp_port", partial(port_number, port)))
    for name, attempt in attempts:
        try:
            attempt()
        except (ValueError, LookupFailed, FatalError) as error:
            file = str(config.directory / "main.cf")
            raise ConfigError(file, 0, name, config.text(name), str(error)) from None


def _try_cleaners(config: Config) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each of the two parameters that HeaderCleaner may refuse, by itself."""
    for service in _smtpd_services(config):
        settings = section(SmtpdSettings, config, service.overrides)
        limit, dropped = settings.header_size_limit, [name.encode() for name in settings.message_drop_headers]
        undisclosed = settings.undisclosed_recipients_header.encode()
        yield "message_drop_headers", partial(HeaderCleaner, dropped, limit, b"", b"")
        yield "undisclosed_recipients_header", partial(HeaderCleaner, [], limit, undisclosed, b"")


def lasting(config: Config) -> object:
    """What a worker, its log or its mailbox helper reads once, when it is born."""
    rooms = section(MailboxSettings, config), section(LogSettings, config)
    return rooms, [config.value(name) for name in LASTING]


def warnings(config: Config) -> list[str]:
    """What is set and has no effect, or another than meant."""
    found = usage.check(config) + listed_twice(config)
    names = {
        name
        for service in _smtpd_services(config)
        for name in restrictions.unsupported(section(SmtpdSettings, config, service.overrides))
    }
    found += [
        f"unsupported smtpd restriction: {name}: mail that comes to it is deferred" for name in sorted(names)
    ]
    words = {
        word
        for service in _smtpd_services(config)
        for word in local_clients.invalid(
            section(SmtpdSettings, config, service.overrides).local_header_rewrite_clients
        )
    }
    found += [f"parameter local_header_rewrite_clients: invalid request: {word}" for word in sorted(words)]
    missing = [
        f"{service.name} ({service.command})"
        for service in config.services
        if service.command not in OWN | BUILT_IN
    ]
    found += route_problems(config)
    file = config.directory / "master.cf"
    if missing:
        found.append(f"{file}: services that fastrelay does not have yet: {', '.join(missing)}")
    jailed = [service.name for service in config.services if service.chroot and service.command in OWN]
    if jailed:
        found.append(f"{file}: services are not chrooted yet: {', '.join(jailed)}")
    return found


def listed_twice(config: Config) -> list[str]:
    """A domain has one class (ADDRESS_CLASS_README). Names in files and tables are not looked at."""
    lists = {
        name: {word.lower() for word in split_list(config.text(name)) if not set(word) & set(":/!")}
        for name in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
    }
    return [
        f"do not list domain {domain} in BOTH {one} and {other}"
        for one, other in combinations(lists, 2)
        if (one, other) != ("mydestination", "relay_domains")  # as in Postfix, whose default it once was
        for domain in sorted(lists[one] & lists[other])
    ]


def route_problems(config: Config) -> Iterator[str]:
    """Transports and next hops of main.cf that lead nowhere: their mail would be deferred."""
    commands = {service.name: service.command for service in config.services if service.type == "unix"}
    for name, domains in TRANSPORTS.items():
        if domains and not config.text(domains):
            continue
        transport, _, next_hop = config.text(name).partition(":")
        if transport not in commands:
            yield f"{name} = {transport}: master.cf has no such service: mail for it is deferred"
        elif commands[transport] == "smtp" and next_hop:
            yield from _next_hop_problems(name, next_hop)
    if relayhost := config.text("relayhost"):
        yield from _next_hop_problems("relayhost", relayhost)
    mailbox = config.text("home_mailbox")
    is_local = commands.get(config.text("local_transport").partition(":")[0]) == "local"
    if is_local and config.text("mydestination") and not mailbox.endswith("/"):
        yield f"home_mailbox = {mailbox}: only a Maildir, such as Maildir/: mail for local users is deferred"


def _next_hop_problems(name: str, value: str) -> Iterator[str]:
    try:
        port_number(parse_next_hop(value.encode(), "25").port)
    except (ValueError, LookupFailed) as error:
        yield f"{name} = {value}: {error}"


def _smtpd_services(config: Config) -> list[Service]:
    return [service for service in config.services if service.type == "inet" and service.command == "smtpd"]
