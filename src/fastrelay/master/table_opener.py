"""Opens the tables that one configuration names, each once, and tells the log what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable

from fastrelay.tables import Table, open_table
from fastrelay.tables.options import Options, Surroundings

Log = Callable[[bytes, bytes], None]
MOST_TOLD = 20  # mistakes of one source


class TableOpener:
    """`error` and `warning` are the mail log's; `service` is who complains there.

    A call gives the table of a name, however many parameters name it.
    """

    def __init__(self, service: bytes, error: Log, warning: Log, how: Options) -> None:
        self._service = service
        self._error = error
        self._warning = warning
        self._how = how
        self._tables: dict[str, Table] = {}

    def __call__(self, spec: str) -> Table:
        table = self._tables.get(spec)
        if table is None:
            how = self._how
            table = open_table(spec, fold=how.fold, utf8=how.utf8, around=how.around)
            self._tables[spec] = table
            self._tell(table)
        return table

    def _tell(self, table: Table) -> None:
        """Its source's mistakes, and why it cannot answer."""
        told, more = table.warnings[:MOST_TOLD], len(table.warnings) - MOST_TOLD
        for text in told + ([f"{table.label}: and {more} more of that kind"] if more > 0 else []):
            self._warning(self._service, text.encode("utf-8", "replace"))
        if table.problem is not None:
            self._error(self._service, table.problem.encode("utf-8", "replace"))


def opener_of_checks(error: Log, warning: Log, around: Surroundings) -> TableOpener:
    """For header and body checks: their keys are neither folded nor UTF-8."""
    return TableOpener(b"cleanup", error, warning, Options(fold=False, utf8=False, around=around))
