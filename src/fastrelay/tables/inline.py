"""inline:{ key=value, {key = text with blanks} }: a table written in the parameter itself."""

from __future__ import annotations

from collections.abc import Iterator

from fastrelay.tables.table import Fold, Table, TableError, is_utf8
from fastrelay.tables.text import SyntaxProblem, balanced, split_list, split_name_value, strip_braces


class InlineTable(Table):
    type = "inline"
    constant = True

    def __init__(self, name: str, fold: Fold, utf8: bool) -> None:
        super().__init__(name)
        self._fold = fold
        self._utf8 = utf8
        self._entries: dict[bytes, bytes] = {}
        try:
            self._parse()
        except SyntaxProblem as error:
            self.problem = f'{error}: "{self.label}"; need "inline:{{name=value...}}"'

    def get(self, key: bytes) -> bytes | None:
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        folded = self._fold(key)
        return None if folded is None else self._entries.get(folded)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        return iter(self._entries.items())

    def _parse(self) -> None:
        if len(self.name) <= 2 or balanced(self.name) != len(self.name):
            raise SyntaxProblem("bad syntax")
        for item in split_list(self.name[1:-1]):
            key, value = split_name_value(strip_braces(item) if item.startswith("{") else item)
            folded = self._fold(key.encode(errors="surrogateescape"))
            content = value.encode(errors="surrogateescape")
            if folded is None or (self._utf8 and not is_utf8(content)):
                raise SyntaxProblem("bad UTF-8 syntax")
            self._entries[folded] = content
        if not self._entries:
            raise SyntaxProblem("empty table")
