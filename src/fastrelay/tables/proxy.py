"""proxy:type:name: a table that proxy_read_maps approves.

One that asks a server is asked through the node's proxymap process, where there is one (tables/proxymap.py):
the workers share its connections and its cache. Any other is opened here, where its answer is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fastrelay.tables.options import Options
from fastrelay.tables.proxymap import ProxymapTable
from fastrelay.tables.surrogate import SurrogateTable
from fastrelay.tables.table import Table, TableError

PREFIX = "proxy:"


def strip(spec: str) -> str:
    """What is behind one or more `proxy:`."""
    while spec.startswith(PREFIX):
        spec = spec.removeprefix(PREFIX)
    return spec


def approved(words: Iterable[str]) -> frozenset[str]:
    """The tables that a value of proxy_read_maps or proxy_write_maps names; other words mean nothing there."""
    return frozenset(strip(word) for word in words if word.startswith(PREFIX))


def open_proxy(name: str, how: Options, opener: Callable[[str, Options], Table], is_remote: bool) -> Table:
    name = strip(name)
    around = how.around
    if around.approved is not None and name not in around.approved:
        for text in refusal(name, "read-only", "proxy_read_maps"):
            around.complain(text)
        return SurrogateTable(PREFIX + name, f'proxymap service is not configured for table "{name}"')
    if around.proxymap and is_remote:
        return ProxymapTable(name, how)
    return ProxyTable(name, opener(name, how))


def refusal(name: str, access: str, parameter: str) -> list[str]:
    """The warnings of Postfix's proxymap."""
    return [
        f'request for unapproved table: "{name}"',
        f"to approve this table for {access} access, list proxy:{name} in main.cf:{parameter}",
    ]


class ProxyTable(Table):
    type = "proxy"

    def __init__(self, name: str, table: Table) -> None:
        super().__init__(name)
        self._table = table
        self.pattern = table.pattern
        self.remote = table.remote
        self.problem = table.problem
        self.warnings = table.warnings

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._table.get(key)
        except TableError as error:
            raise TableError(self.label, error.reason, error.unavailable) from error

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        raise TableError(self.label, "can't sequence maps via the proxy service", unavailable=False)

    def version(self) -> object:
        return self._table.version()
