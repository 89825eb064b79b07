"""static: the same value for every key; braces around it allow blanks inside."""

from __future__ import annotations

from fastrelay.tables.table import Table, TableError, check_value, is_utf8
from fastrelay.tables.text import SyntaxProblem, strip_braces


class StaticTable(Table):
    type = "static"
    constant = True

    def __init__(self, name: str, utf8: bool) -> None:
        self._utf8 = utf8
        super().__init__(name)
        try:
            text = strip_braces(name) if name.startswith("{") else name
        except SyntaxProblem as error:
            self.problem, text = f"bad static:name syntax: {error}", ""
        self._value = text.encode(errors="surrogateescape")

    def get(self, key: bytes) -> bytes | None:
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        if not self._utf8:
            return self._value
        return check_value(self.label, key, self._value) if is_utf8(key) else None
