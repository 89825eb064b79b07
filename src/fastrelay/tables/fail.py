"""fail: every lookup is an error. For trying out what a configuration does when a table is down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from fastrelay.tables.table import Table, TableError

APPLICATION_ERROR = "Application error"  # the system's text for DICT_ERR_RETRY, as postmap prints it


class FailTable(Table):
    type = "fail"
    constant = True
    pattern = True

    def get(self, key: bytes) -> NoReturn:
        raise TableError(self.label, APPLICATION_ERROR, unavailable=False)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        raise TableError(self.label, APPLICATION_ERROR, unavailable=False)
