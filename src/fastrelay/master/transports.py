"""The delivery transports of master.cf: which agent serves each, and under which name it logs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from fastrelay.borders import Agent, DestinationQueue, Report
from fastrelay.config import Config, Service, section
from fastrelay.delivery.discard import DiscardAgent
from fastrelay.delivery.dns import Resolver
from fastrelay.delivery.error import ErrorAgent
from fastrelay.delivery.generic import GenericAgent, GenericMap
from fastrelay.delivery.local import Forward, LocalAgent, LocalParts
from fastrelay.delivery.mailbox_helper import MailboxClient
from fastrelay.delivery.mailbox_settings import LocalSettings, MailboxSettings, VirtualSettings
from fastrelay.delivery.mailboxes import DirectMailboxes, Mailboxes
from fastrelay.delivery.sent_contents import DEFERRED
from fastrelay.delivery.smtp import SmtpAgent
from fastrelay.delivery.smtp_settings import ResolverSettings, SmtpSettings
from fastrelay.delivery.virtual import VirtualAgent, VirtualParts
from fastrelay.master.content import sent_checks
from fastrelay.master.routing import Routing
from fastrelay.tables import Maps
from fastrelay.tcp._poller import Poller

Log = Callable[[bytes, bytes], None]


class ReplaceableAgent:
    """Stands for a transport's agent in the scheduler; a reload puts a new one in its place."""

    def __init__(self, agent: Agent) -> None:
        self.current = agent
        self._retired: set[asyncio.Task[None]] = set()

    def replace(self, agent: Agent) -> None:
        """The old one ends what it has under way; close() waits for that too, or it would be sent twice."""
        retired = asyncio.ensure_future(_close(self.current))
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)
        self.current = agent

    def open_slot(self, queue: DestinationQueue) -> None:
        self.current.open_slot(queue)

    async def close(self) -> None:
        await asyncio.gather(self.current.close(), *self._retired)


async def _close(agent: Agent) -> None:
    await agent.close()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What agents are handed by the worker."""

    report: Report
    line: Log
    warning: Log
    forward: Forward  # of delivery.local
    mailboxes: Mailboxes
    poller: Poller


def make_mailboxes(config: Config, helper: socket.socket | None) -> Mailboxes:
    """With master's helper when there is one: it has the rights that a mailbox's owner has."""
    if helper is not None:
        return MailboxClient(helper)
    return DirectMailboxes(section(MailboxSettings, config))


def log_name(service: Service, config: Config) -> bytes:
    """What stands before `[pid]` in the log: `relay/smtp` when -o syslog_name=postfix/$service_name says so."""
    own = config.text("syslog_name", service.overrides)
    if own == config.text("syslog_name"):
        return service.command.encode()
    return f"{own.replace('$service_name', service.name)}/{service.command}".encode()


def make_agents(config: Config, routing: Routing, around: Surroundings) -> dict[bytes, Agent]:
    """An agent for each transport that fastrelay has a delivery agent for."""
    resolver = Resolver(
        section(ResolverSettings, config),
        own_addresses=routing.own_addresses,
        log=lambda text: around.line(b"smtp", text),
    )
    agents: dict[bytes, Agent] = {}
    for service in config.services:
        agent = make_agent(service, config, routing, around, resolver)
        if agent is not None:
            agents[service.name.encode()] = agent
    return agents


def make_agent(
    service: Service, config: Config, routing: Routing, around: Surroundings, resolver: Resolver
) -> Agent | None:
    """None: not a transport, or one that is not supported (its mail is deferred, as with Postfix)."""
    overrides = service.overrides
    name = log_name(service, config)

    def warning(text: bytes) -> None:
        around.warning(name, text)

    match service.command if service.type == "unix" else "":
        case "smtp":
            settings = section(SmtpSettings, config, overrides)
            own = Maps(config.text("smtp_generic_maps", overrides), routing.open)
            table = routing.mappings.table("smtp_generic_maps", "generic", own, consequence=DEFERRED)
            generic = GenericMap(table)

            def make(report: Report) -> SmtpAgent:
                return SmtpAgent(
                    settings, report, lambda text: around.line(name, text), resolver, around.poller
                )

            checks = sent_checks(config, overrides, routing.open_check)
            if not generic and checks is None:
                return make(around.report)

            def line(text: bytes) -> None:
                around.line(name, text)

            return GenericAgent(generic, make, around.report, warning, checks, line)
        case "local":
            parts = LocalParts(
                alias_maps=routing.maps("alias_maps"),
                mailboxes=around.mailboxes,
                forward=around.forward,
                complete=routing.rewriter.envelope,
                warning=warning,
            )
            return LocalAgent(section(LocalSettings, config, overrides), parts, around.report)
        case "virtual":
            maps = [routing.maps(f"virtual_{kind}_maps") for kind in ("mailbox", "uid", "gid")]
            virtual = VirtualParts(maps[0], maps[1], maps[2], around.mailboxes, warning)
            return VirtualAgent(section(VirtualSettings, config, overrides), virtual, around.report)
        case "discard":
            return DiscardAgent(around.report)
        case "error":
            return ErrorAgent(around.report, retry=service.name == "retry")
    return None
