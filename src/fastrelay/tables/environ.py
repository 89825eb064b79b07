"""environ: the variables of the process's environment; the name after the colon means nothing."""

from __future__ import annotations

import os

from fastrelay.tables.table import Fold, Table, check_value


class EnvironTable(Table):
    type = "environ"

    def __init__(self, name: str, fold: Fold, utf8: bool) -> None:
        super().__init__(name)
        self._fold = fold
        self._utf8 = utf8

    def get(self, key: bytes) -> bytes | None:
        folded = self._fold(key)
        value = None if folded is None else os.environb.get(folded)
        return check_value(self.label, key, value) if value is not None and self._utf8 else value
