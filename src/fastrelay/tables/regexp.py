"""regexp: POSIX regular expressions and what to answer for keys that they match, regexp_table(5)."""

from __future__ import annotations

from fastrelay.tables._regex import EXTENDED, IGNORE_CASE, NEWLINE, Pattern, PatternError
from fastrelay.tables.literals import of_posix
from fastrelay.tables.rules import Condition, RuleTable, Text
from fastrelay.tables.table import TableError
from fastrelay.tables.text import SyntaxProblem


class RegexpTable(RuleTable):
    type = "regexp"
    options = {ord("i"): IGNORE_CASE, ord("m"): NEWLINE, ord("x"): EXTENDED}  # noqa: RUF012  # the base says ClassVar
    default_flags = EXTENDED | IGNORE_CASE
    second_pattern = True

    def get(self, key: bytes) -> bytes | None:
        try:
            return super().get(key)
        except PatternError as error:  # the C library is out of memory
            raise TableError(self.label, str(error), unavailable=False) from error

    def compile(self, text: Text, groups: bool) -> Condition:
        try:
            pattern = Pattern(text.regex, text.flags, groups)
        except PatternError as error:
            raise SyntaxProblem(str(error)) from error
        return Condition(pattern, text.wanted, of_posix(text.regex) if text.flags & EXTENDED else None)
