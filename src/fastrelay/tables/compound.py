"""pipemap:{type:name ...} and unionmap:{type:name ...}: tables made of other tables, DATABASE_README.

A pipe hands each answer on to the next table as its key; a union joins all answers with commas.
As in Postfix, the first member says what the whole is: when it matches patterns, keys are not folded and
partial keys not shown; otherwise every member gets the folded key. A member that cannot tell is the error
of the whole. The registry makes them and hands them the opener of their members.
"""

from __future__ import annotations

from collections.abc import Callable

from fastrelay.tables.options import Options
from fastrelay.tables.table import Fold, Table, TableError, choose_fold
from fastrelay.tables.text import balanced, split_list

Opener = Callable[[str], Table]


class CompoundTable(Table):
    """What both have in common: the members, or the problem why there are none."""

    def __init__(self, name: str, opener: Opener, how: Options) -> None:
        super().__init__(name)
        self._members: list[Table] = []
        if balanced(name) == len(name):
            self._open_members(split_list(name[1:-1]), opener)
        if not self._members and self.problem is None:
            self.problem = self._bad_syntax()
        self.pattern = bool(self._members) and self._members[0].pattern
        self.remote = any(member.remote for member in self._members)
        self.warnings = [line for member in self._members for line in member.warnings]
        # Postfix folds here only while it looks at UTF-8 anyway; the members fold for themselves
        self._fold: Fold = choose_fold(how.fold and how.utf8 and not self.pattern, how.utf8)

    def get(self, key: bytes) -> bytes | None:
        if not self._members:
            raise TableError(self.label, self.problem or "no tables")
        folded = self._fold(key)
        if folded is None:
            return None
        try:
            return self._find(folded)
        except TableError as error:
            raise TableError(self.label, error.reason, error.unavailable) from error

    def version(self) -> tuple[object, ...]:
        return tuple([member.version() for member in self._members])

    def _find(self, key: bytes) -> bytes | None:
        raise NotImplementedError

    def _open_members(self, specs: list[str], opener: Opener) -> None:
        """The first mistake in the list is the problem of the whole; a member that is down is asked all the same."""
        members = []
        for spec in specs:
            if ":" not in spec:
                self.problem = self.problem or self._bad_syntax()
                return
            members.append(opener(spec))
            self.problem = self.problem or members[-1].problem
        self._members = members

    def _bad_syntax(self) -> str:
        return f'bad syntax: "{self.label}"; need "{self.type}:{{type:name...}}"'


class PipeTable(CompoundTable):
    type = "pipemap"

    def _find(self, key: bytes) -> bytes | None:
        for member in self._members:
            value = member.get(key)
            if value is None:
                return None
            key = value
        return key


class UnionTable(CompoundTable):
    type = "unionmap"

    def _find(self, key: bytes) -> bytes | None:
        if self.remote:
            from fastrelay.tables.pending import ask_each  # brings asyncio: not for the quick tools

            answers = ask_each(lambda member: member.get(key), self._members)
        else:
            answers = [member.get(key) for member in self._members]
        found = b""
        for answer in answers:
            if answer is not None:
                found += b"," + answer if found else answer  # an empty one leaves its comma, as in Postfix
        return found or None
