"""proxy:type:name: opens the table that it names, in this process."""

from __future__ import annotations

from collections.abc import Iterator

from fastrelay.tables.table import Table, TableError


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

    @property
    def version(self) -> object:
        return self._table.version
