"""What pgsql, mysql, sqlite, ldap and memcache tables share: their parameters, %s %u %d %1, result_format.

Source reads the parameters of one table: a file of `name = value` lines when its name begins with a slash
or a dot, else `name_parameter` of main.cf. Templates turns a key into queries and the server's values into
the answer, as Postfix's db_common(3): what a template needs and the key has not ends the lookup unasked.
A wrong parameter is a SourceProblem with Postfix's words; QueryTable shows it as its `problem`.

    templates = Templates(source, {"query": sql_query(source)})   # in configure()
    text = templates.query("query", key, quote)   # in fetch(); None: not to be asked, so not found
    return templates.result(key, values)          # values: bytes, or None for NULL
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fastrelay.tables.options import Options
from fastrelay.tables.remote import RemoteTable
from fastrelay.tables.table import TableError, strerror
from fastrelay.tables.text import SyntaxProblem, logical_lines, printable, split_name_value

Quote = Callable[[bytes], bytes]
Template = list[bytes | str]  # bytes: as they are; str: the letter behind a percent sign
MOST_VALUES = 10_000  # of one lookup, unless expansion_limit is higher
_PIECES = re.compile(r"%(.?)|[^%]+", re.DOTALL)
_LETTERS = frozenset("sudSUD123456789")


class SourceProblem(Exception):
    """A table's parameters cannot be used; str() is Postfix's wording."""


class Source:
    """The parameters of one table. A parameter that is not there has its default."""

    def __init__(self, name: str, how: Options, label: str = "") -> None:
        self.name = name
        self.label = label or name
        self.how = how
        self.warnings: list[str] = []
        self.in_file = name.startswith(("/", "."))
        self._values = self._read_file() if self.in_file else {}

    def text(self, parameter: str, default: str = "", *, required: bool = False) -> str:
        """`required`: the empty value is a mistake."""
        value = self._find(parameter)
        value = default if value is None else value
        if required and not value:
            raise SourceProblem(self._where(f"bad string length 0 < 1: {self._shown(parameter)} = "))
        return value

    def number(self, parameter: str, default: int, minimum: int = 0, maximum: int = 0) -> int:
        """A minimum or maximum of 0 is none, as in Postfix."""
        value = self._find(parameter)
        if value is None:
            return default
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", value):
            shown = self._shown(parameter)
            raise SourceProblem(self._where(f"bad numerical configuration: {shown} = {value}"))
        number = int(value)
        if (minimum and number < minimum) or (maximum and number > maximum):
            bound = f"< {minimum}" if minimum and number < minimum else f"> {maximum}"
            shown = self._shown(parameter)
            raise SourceProblem(f"{self.name}: invalid {shown} parameter value {number} {bound}")
        return number

    def flag(self, parameter: str, default: bool) -> bool:
        value = self._find(parameter)
        if value is None:
            return default
        if value.lower() not in ("yes", "no"):
            shown = self._shown(parameter)
            raise SourceProblem(self._where(f"bad boolean configuration: {shown} = {value}"))
        return value.lower() == "yes"

    def complain(self, text: str) -> None:
        """While the table is in use: a line for the log."""
        self.how.around.complain(text)

    def _find(self, parameter: str) -> str | None:
        if self.in_file:
            return self._values.get(parameter)
        return self.how.around.parameter(f"{self.name}_{parameter}")

    def _shown(self, parameter: str) -> str:
        return parameter if self.in_file else f"{self.name}_{parameter}"

    def _where(self, text: str) -> str:
        return f"{self.name}: {text}" if self.in_file else text

    def _read_file(self) -> dict[str, str]:
        values: dict[str, str] = {}
        with open(self.name, "rb") as file:
            for number, line in logical_lines(file, self.warnings.append):
                try:
                    name, value = split_name_value(line.decode("utf-8", "surrogateescape"))
                except SyntaxProblem as error:
                    text = f'{error}: "{printable(line)}"'
                    raise SourceProblem(f"{self.name}, line {number}: {text}") from error
                if name in values:
                    self.warnings.append(f"{self.name}, line {number}: overriding earlier entry: {name}")
                values[name] = value
        return values


class QueryTable(RemoteTable):
    """A remote table with parameters; a type reads its own in `configure`."""

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        try:
            source = Source(name, how, self.label)
            self.warnings = source.warnings
            self.configure(source)
        except OSError as error:
            self.problem = f"open {name}: {strerror(error)}"
        except SourceProblem as error:
            self.problem = str(error)

    def configure(self, source: Source) -> None:
        """Read the parameters; SourceProblem when one is wrong."""
        raise NotImplementedError


def sql_query(source: Source) -> str:
    """`query`, or the one that is made of the obsolete parameters."""
    query = source.text("query")
    if query:
        return query
    table, select, where = [
        source.text(each, required=True) for each in ("table", "select_field", "where_field")
    ]
    more = source.text("additional_conditions")
    return " ".join(["SELECT", select, "FROM", table, "WHERE", where, "= '%s'", more])


@dataclass(slots=True)
class _Needs:
    """What all templates of a table together need a key to have."""

    user: bool = False
    domain: bool = False
    labels: int = 0  # of the key's domain


@dataclass(frozen=True, slots=True)
class Parts:
    """An address cut at its last @. `domain` None: there is no @, and `user` is all of it."""

    whole: bytes
    user: bytes
    domain: bytes | None

    def labels(self) -> list[bytes]:
        """The domain's, the most significant first."""
        return [label for label in reversed((self.domain or b"").split(b".")) if label]


def split(text: bytes) -> Parts:
    at = text.rfind(b"@")
    return Parts(text, text, None) if at < 0 else Parts(text, text[:at], text[at + 1 :])


class Templates:
    """`queries` by their parameters' names; result_format, domain and expansion_limit come from the source."""

    def __init__(
        self, source: Source, queries: Mapping[str, str], *, result_format: str | None = None
    ) -> None:
        self._source = source
        self._key_needs = _Needs()
        self._value_needs = _Needs()
        self._queries = {name: self._parse(text, "query", True) for name, text in queries.items()}
        text = source.text("result_format", "%s", required=True) if result_format is None else result_format
        self._result_format = self._parse(text, "result", False)
        self._expansion_limit = source.number("expansion_limit", 0)
        self.most_values = max(MOST_VALUES, self._expansion_limit)
        self._domains = self._read_domains(source)

    def allows(self, key: bytes) -> bool:
        """May the server be asked? No: the key is not in the table. TableError of a table in `domain`."""
        parts = split(key)
        if self._domains is not None and (
            not parts.user or not parts.domain or not self._domains.matches(parts.domain)
        ):
            return False
        return self._has(parts, self._key_needs)

    def query(self, name: str, key: bytes, quote: Quote) -> bytes | None:
        """The text to ask with; None: not to be asked."""
        if not self.allows(key):
            return None
        if not key:
            self._source.complain(f'table "{self._source.label}": empty query string -- ignored')
            return None
        parts = split(key)
        return _fill(self._queries[name], parts, parts, quote)

    def result(self, key: bytes, values: Iterable[bytes | None]) -> bytes | None:
        """The values through result_format, joined with commas; None when nothing is left."""
        found: list[bytes] = []
        parts = split(key)
        for value in values:
            text = self._format(parts, value)
            if text is None:
                continue
            found.append(text)
            if 0 < self._expansion_limit < len(found):
                raise TableError(
                    self._source.label,
                    f"Expansion limit exceeded for key '{printable(key)}'",
                    unavailable=False,
                )
        return b",".join(found) or None

    def _format(self, key: Parts, value: bytes | None) -> bytes | None:
        if value is None:
            return None
        if not value:
            label = self._source.label
            shown = printable(key.whole)
            self._source.complain(f'table "{label}": empty lookup result for: "{shown}" -- ignored')
            return None
        parts = split(value)
        if not self._has(parts, self._value_needs):
            return None
        return _fill(self._result_format, key, parts, None)

    @staticmethod
    def _has(parts: Parts, needs: _Needs) -> bool:
        if needs.domain and not parts.domain:
            return False
        if needs.user and not parts.user and parts.domain is not None:
            return False
        return not needs.labels or len(parts.labels()) >= needs.labels

    def _parse(self, text: str, what: str, is_query: bool) -> Template:
        template: Template = []
        for match in _PIECES.finditer(text):
            letter = match[1]
            if letter is None:
                template.append(match[0].encode("utf-8", "surrogateescape"))
            elif letter == "%":
                template.append(b"%")
            elif letter in _LETTERS:
                template.append(letter)
                self._need(letter, is_query)
            else:
                name = self._source.name
                raise SourceProblem(f"db_common_parse: {name}: Invalid {what} template: {text}")
        return template

    def _need(self, letter: str, is_query: bool) -> None:
        """In a query all letters speak of the key; in result_format the small ones speak of the value."""
        needs = self._key_needs if is_query or not letter.islower() else self._value_needs
        if letter in "uU":
            needs.user = True
        elif letter in "dD":
            needs.domain = True
        elif letter.isdigit():
            needs.domain = True
            needs.labels = max(needs.labels, int(letter))

    @staticmethod
    def _read_domains(source: Source) -> _Domains | None:
        text = source.text("domain")
        return _Domains(text, source.how) if text else None


class _Domains:
    """The `domain` list: opened with the table, as it may name tables of its own."""

    def __init__(self, text: str, how: Options) -> None:
        from fastrelay.tables.matching import StringMatcher  # matching opens tables, and so knows this file
        from fastrelay.tables.registry import open_table

        self.matches = StringMatcher(
            text, lambda spec: open_table(spec, fold=how.fold, utf8=how.utf8, around=how.around)
        ).matches


def _fill(template: Template, key: Parts, value: Parts, quote: Quote | None) -> bytes:
    """A query is filled with `value` being the key; quote is None for results."""
    filled: list[bytes] = []
    for piece in template:
        if isinstance(piece, bytes):
            filled.append(piece)
            continue
        text = _part(piece, value if piece.islower() else key)
        filled.append(quote(text) if quote is not None else text)
    return b"".join(filled)


def _part(letter: str, parts: Parts) -> bytes:
    if letter in "sS":
        return parts.whole
    if letter in "uU":
        return parts.user
    if letter in "dD":
        return parts.domain or b""
    return parts.labels()[int(letter) - 1]
