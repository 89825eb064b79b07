"""randmap:{value, value ...}: one of the values by chance, whatever the key; one named twice comes twice as often."""

from __future__ import annotations

import random

from fastrelay.tables.table import Table, TableError, check_value, is_utf8
from fastrelay.tables.text import balanced, split_list


class RandomTable(Table):
    type = "randmap"
    pattern = True

    def __init__(self, name: str, utf8: bool) -> None:
        super().__init__(name)
        self._utf8 = utf8
        texts = split_list(name[1:-1]) if balanced(name) == len(name) else []
        self._values = [text.encode(errors="surrogateescape") for text in texts]
        if not self._values:
            self.problem = f'bad syntax: "{self.label}"; need "randmap:{{value...}}"'

    def get(self, key: bytes) -> bytes | None:
        if self.problem is not None:
            raise TableError(self.label, self.problem)
        value = random.choice(self._values)  # noqa: S311  # to spread load, not to keep a secret
        if not self._utf8:
            return value
        return check_value(self.label, key, value) if is_utf8(key) else None

    def version(self) -> object:
        """Never the same: what a resolver remembers would make the choice for good."""
        return object()
