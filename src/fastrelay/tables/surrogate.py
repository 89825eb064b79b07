"""A table that cannot be: its type is not supported, or its name makes no sense. It answers TableError.

Postfix's dict_surrogate: the service starts, logs the problem, and answers 451 where the table is asked.
"""

from __future__ import annotations

from typing import NoReturn

from fastrelay.tables.table import Table, TableError


class SurrogateTable(Table):
    constant = True

    def __init__(self, label: str, problem: str) -> None:
        super().__init__(label.partition(":")[2])
        self.label = label
        self.problem: str = problem

    def get(self, key: bytes) -> NoReturn:
        raise TableError(self.label, self.problem)
