"""How tables are opened, and what the ones that ask a server are handed: limits, parameters, a place to complain.

The registry passes Options on to every table that it makes, and a table that opens others does so too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TableSettings:
    """The limits of remote tables (config.section fills it); each table has a cache and a pool of its own."""

    fastrelay_table_cache_time: float = 60.0
    fastrelay_table_negative_cache_time: float = 10.0
    fastrelay_table_cache_limit: int = 20_000
    fastrelay_table_timeout: float = 10.0
    fastrelay_table_retry_time: float = 1.0
    fastrelay_table_lookup_limit: int = 1000
    fastrelay_table_connection_limit: int = 4
    proxy_read_maps: tuple[str, ...] = ()
    proxy_write_maps: tuple[str, ...] = ()


def _no_parameter(_name: str) -> str | None:
    return None


def _say_nothing(_text: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`parameter`: the expanded value of a parameter of main.cf, None when it is not set there.

    `complain` takes a line for the log when a server fails; `approved` are the tables that `proxy:` may name,
    None: all; `proxymap` is the socket of the process that asks servers for this one, "": there is none.
    `writable` and `proxywrite` are the same for tables that are written to.
    """

    settings: TableSettings = field(default_factory=TableSettings)
    parameter: Callable[[str], str | None] = _no_parameter
    complain: Callable[[str], None] = _say_nothing
    approved: frozenset[str] | None = None
    proxymap: str = ""
    writable: frozenset[str] | None = None
    proxywrite: str = ""


NOWHERE = Surroundings()


@dataclass(frozen=True, slots=True)
class Options:
    """How a table is opened: keys folded to lower case (postmap -f: not), texts must be UTF-8."""

    fold: bool = True
    utf8: bool = True
    around: Surroundings = NOWHERE
