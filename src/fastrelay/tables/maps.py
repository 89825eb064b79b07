"""Maps: the tables that one parameter names, asked in order until one knows the key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastrelay.tables.registry import open_table
from fastrelay.tables.table import Table
from fastrelay.tables.text import split_list

Opener = Callable[[str], Table]


class Maps:
    """`specs` is a parameter's expanded text ("hash:/etc/a, proxy:unix:passwd.byname") or its list."""

    def __init__(self, specs: str | Sequence[str], opener: Opener = open_table) -> None:
        self.tables = [opener(spec) for spec in (split_list(specs) if isinstance(specs, str) else specs)]
        self._gets = [table.get for table in self.tables]

    def __bool__(self) -> bool:
        return bool(self.tables)

    def find(self, key: bytes) -> bytes | None:
        """The value in the first table that has the key; TableError when one before it cannot tell."""
        for get in self._gets:
            value = get(key)
            if value is not None:
                return value
        return None
