"""What tables that ask a server are handed of a configuration: for workers and for the command line's tools."""

from __future__ import annotations

from collections.abc import Callable

from fastrelay.config import Config, section
from fastrelay.tables.options import Surroundings, TableSettings


def table_surroundings(config: Config, complain: Callable[[str], None]) -> Surroundings:
    """A table's own parameters may be in main.cf, as `name_query`."""

    def parameter(name: str) -> str | None:
        return config.text(name) if name in config.main else None

    return Surroundings(section(TableSettings, config), parameter, complain)
