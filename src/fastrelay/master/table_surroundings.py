"""What tables that ask a server are handed of a configuration: for workers and for the command line's tools."""

from __future__ import annotations

from collections.abc import Callable

from fastrelay.config import Config, section
from fastrelay.tables.options import Surroundings, TableSettings
from fastrelay.tables.proxy import approved

PROXYMAP = "private/proxymap"  # below queue_directory, where a worker stands, chrooted or not
PROXYWRITE = "private/proxywrite"


def table_surroundings(
    config: Config, complain: Callable[[str], None], proxymap: str = "", proxywrite: str = ""
) -> Surroundings:
    """A table's own parameters may be in main.cf, as `name_query`."""

    def parameter(name: str) -> str | None:
        return config.text(name) if name in config.main else None

    settings = section(TableSettings, config)
    return Surroundings(
        settings,
        parameter,
        complain,
        approved(settings.proxy_read_maps),
        proxymap,
        approved(settings.proxy_write_maps),
        proxywrite,
    )
