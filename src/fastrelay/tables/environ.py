"""environ: the variables of the process's environment; the name after the colon means nothing."""

from __future__ import annotations

import os

from fastrelay.tables.table import Fold, Table


class EnvironTable(Table):
    type = "environ"

    def __init__(self, name: str, fold: Fold) -> None:
        super().__init__(name)
        self._fold = fold

    def get(self, key: bytes) -> bytes | None:
        folded = self._fold(key)
        return None if folded is None else os.environb.get(folded)
