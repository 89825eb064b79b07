"""Makes the smtpd service of a master.cf line: its settings with the -o overrides, its checks, its journal."""

from __future__ import annotations

import dataclasses
import resource
from typing import TYPE_CHECKING

from fastrelay.config import Config, Service, section
from fastrelay.delivery.smtp_settings import SmtpSettings
from fastrelay.master.content import content_checks
from fastrelay.master.transports import log_name
from fastrelay.smtpd import cleanup, content, restrictions
from fastrelay.smtpd.journal import Journal
from fastrelay.smtpd.service import Service as SmtpdService
from fastrelay.smtpd.service import Surroundings
from fastrelay.smtpd.settings import SmtpdSettings

if TYPE_CHECKING:
    from fastrelay.master.worker import Worker


SPARE_FILES = 500  # of a worker, for its queue, tables, look-ups and tools


def make_service(service: Service, config: Config, worker: Worker) -> SmtpdService:
    """Raises restrictions.RestrictionError when the service could be an open relay."""
    journal = Journal(log_name(service, config), worker.log.line, worker.log.warning)
    settings = _within_files(
        section(SmtpdSettings, config, service.overrides), section(SmtpSettings, config), journal
    )
    routing = worker.routing
    checks = restrictions.RecipientChecks(
        restrictions.Surroundings(settings, routing.resolver, routing.recipients, journal)
    )
    mapped = "no_address_mappings" not in (word.lower() for word in settings.receive_override_options)
    maps = content.HeaderMaps(routing.mappings.one_to_one if mapped else None)
    return SmtpdService(
        settings,
        Surroundings(
            loop=worker.loop,
            journal=journal,
            rewriter=routing.rewriter,
            checks=checks,
            cleanup=cleanup.make(routing.envelope, settings.receive_override_options, journal),
            content=content.make(
                content_checks(config, routing.open_check, settings.receive_override_options),
                maps,
                routing.envelope,
                journal,
            ),
            header_maps=maps,
            networks=routing.networks(settings.mynetworks),
            own_addresses=frozenset(address.encode() for address in routing.own_addresses),
            new_id=worker.spool.new_id,
            queue_name=worker.passage.queue_name,
            has_room=worker.spool.has_room,
            submit=worker.passage.submit,
            names=worker.names,
            open_table=routing.open,
        ),
    )


def _within_files(settings: SmtpdSettings, smtp: SmtpSettings, journal: Journal) -> SmtpdSettings:
    """Sessions must leave open files to deliveries and the queue, or mail that was taken gets stuck."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, files - SPARE_FILES - min(smtp.fastrelay_smtp_connection_limit, files // 4))
    if settings.fastrelay_smtpd_connection_limit <= most:
        return settings
    journal.warning(
        b"open files are limited to %d: fastrelay_smtpd_connection_limit is %d here, not %d"
        % (files, most, settings.fastrelay_smtpd_connection_limit)
    )
    return dataclasses.replace(settings, fastrelay_smtpd_connection_limit=most)
