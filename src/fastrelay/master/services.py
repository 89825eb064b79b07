"""Makes the smtpd service of a master.cf line: its settings with the -o overrides, its checks, its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastrelay.config import Config, Service, section
from fastrelay.master.transports import log_name
from fastrelay.smtpd import restrictions
from fastrelay.smtpd.journal import Journal
from fastrelay.smtpd.service import Service as SmtpdService
from fastrelay.smtpd.service import Surroundings
from fastrelay.smtpd.settings import SmtpdSettings

if TYPE_CHECKING:
    from fastrelay.master.worker import Worker


def make_service(service: Service, config: Config, worker: Worker) -> SmtpdService:
    """Raises restrictions.RestrictionError when the service could be an open relay."""
    settings = section(SmtpdSettings, config, service.overrides)
    journal = Journal(log_name(service, config), worker.log.line, worker.log.warning)
    routing = worker.routing
    checks = restrictions.RecipientChecks(
        restrictions.Surroundings(settings, routing.resolver, routing.recipients, journal)
    )
    return SmtpdService(
        settings,
        Surroundings(
            loop=worker.loop,
            journal=journal,
            rewriter=routing.rewriter,
            checks=checks,
            networks=routing.networks(settings.mynetworks),
            own_addresses=frozenset(address.encode() for address in routing.own_addresses),
            new_id=worker.spool.new_id,
            queue_name=worker.queue_name,
            has_room=worker.spool.has_room,
            submit=worker.submit,
            names=worker.names,
        ),
    )
