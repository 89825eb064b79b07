"""regexp: POSIX regular expressions and what to answer for keys that they match, regexp_table(5).

Rules are tried in order, `if`/`endif` skip over some, `!` negates; the first that matches answers.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.tables._regex import EXTENDED, IGNORE_CASE, NEWLINE, Pattern, PatternError
from fastrelay.tables.substitution import Template, expand, highest, parse_template
from fastrelay.tables.table import SourceTable, TableError, check_value, is_utf8
from fastrelay.tables.text import WHITESPACE, SyntaxProblem, printable, source_lines

_FLAGS = {ord("i"): IGNORE_CASE, ord("m"): NEWLINE, ord("x"): EXTENDED}
_SKIPPING = ": skipping this rule"


@dataclass(slots=True)
class _Text:
    """A pattern as written, before it is compiled."""

    regex: bytes
    flags: int
    wanted: bool  # False: negated by !


@dataclass(slots=True)
class _Condition:
    pattern: Pattern
    wanted: bool

    def holds(self, key: bytes) -> bool:
        return self.pattern.matches(key) == self.wanted


@dataclass(slots=True)
class _Rule:
    """`/first/!/second/ template`; with `groups` the answer needs what the first one matched."""

    first: _Condition
    second: _Condition | None
    template: Template
    groups: int

    def answer(self, key: bytes) -> bytes | None:
        groups = self._first_groups(key)
        if groups is None or (self.second is not None and not self.second.holds(key)):
            return None
        return expand(self.template, groups)

    def _first_groups(self, key: bytes) -> list[bytes] | None:
        """What `first` matched, nothing when the answer does not need it, None when it does not hold."""
        if self.groups:
            return self.first.pattern.groups(key, self.groups)
        return [] if self.first.holds(key) else None


@dataclass(slots=True)
class _If:
    """When the condition does not hold, go on at step `end`."""

    condition: _Condition
    line: int
    end: int = 1 << 30  # without an endif: the end of the table


class RegexpTable(SourceTable):
    type = "regexp"
    constant = True
    pattern = True

    def __init__(self, name: str, utf8: bool) -> None:
        self._steps: list[_Rule | _If] = []
        self._utf8 = utf8  # only such keys are in the table; header and body checks say no
        super().__init__(name)

    def get(self, key: bytes) -> bytes | None:
        self.check()
        if self._utf8 and not is_utf8(key):
            return None
        at = 0
        try:
            while at < len(self._steps):
                step = self._steps[at]
                at += 1
                if isinstance(step, _If):
                    if not step.condition.holds(key):
                        at = step.end
                else:
                    found = step.answer(key)
                    if found is not None:
                        return check_value(self.label, key, found) if self._utf8 else found
        except PatternError as error:
            raise TableError(self.label, str(error), unavailable=False) from error
        return None

    def load(self) -> None:
        steps: list[_Rule | _If] = []
        waiting: list[_If] = []  # ifs without their endif
        for number, line in source_lines(self.name):
            try:
                step = self._parse(line.strip(WHITESPACE), number, waiting, len(steps))
            except (SyntaxProblem, PatternError) as error:
                self._warn(number, str(error))
                continue
            if isinstance(step, _If):
                waiting.append(step)
            if step is not None:
                steps.append(step)
        for begin in reversed(waiting):
            self._warn(begin.line, "IF has no matching ENDIF")
        self._steps = steps

    def _parse(self, line: bytes, number: int, waiting: list[_If], position: int) -> _Rule | _If | None:
        """One line: a rule, an if, or None for an endif, which closes the last of `waiting`."""
        if not line[:1].isalnum():
            return self._rule(line, number)
        if line[:2].lower() == b"if" and not line[2:3].isalnum():
            return self._if(line[2:].lstrip(WHITESPACE), number)
        if line[:5].lower() == b"endif" and not line[5:6].isalnum():
            if not waiting:
                raise SyntaxProblem("ignoring ENDIF without matching IF")
            waiting.pop().end = position
            if line[5:].strip(WHITESPACE):
                self._warn(number, "ignoring extra text after ENDIF")
            return None
        raise SyntaxProblem("ignoring unrecognized request")

    def _if(self, text: bytes, number: int) -> _If:
        pattern, rest = _pattern(text)
        rest = rest.strip(WHITESPACE)
        if rest:
            self._warn(number, f'ignoring extra text after IF statement: "{printable(rest)}"')
            self._warn(number, "do not prepend whitespace to statements between IF and ENDIF")
        return _If(_compile(pattern), number)

    def _rule(self, line: bytes, number: int) -> _Rule:
        first, rest = _pattern(line)
        second = None
        if rest.startswith(b"!"):
            second, rest = _pattern(rest)
        text = rest.strip(WHITESPACE)
        if not text:
            self._warn(number, "no replacement text: using empty string")
        try:
            template = parse_template(text)
        except SyntaxProblem as error:
            self._warn(number, str(error))
            raise SyntaxProblem(f"bad replacement syntax{_SKIPPING}") from error
        groups = highest(template)
        if groups and not first.wanted:
            raise SyntaxProblem(f"$number found in negative match replacement text{_SKIPPING}")
        compiled = _compile(first, groups > 0)
        if groups > compiled.pattern.group_count:
            raise SyntaxProblem(f'out of range replacement index "{groups}"{_SKIPPING}')
        return _Rule(compiled, _compile(second) if second else None, template, groups)

    def _warn(self, number: int, text: str) -> None:
        where = "" if self.name.startswith("{") else f" {self.name}"
        self.warnings.append(f"regexp map{where}, line {number}: {text}")


def _compile(text: _Text, groups: bool = False) -> _Condition:
    return _Condition(Pattern(text.regex, text.flags, groups), text.wanted)


def _pattern(line: bytes) -> tuple[_Text, bytes]:
    """The pattern that `line` begins with, and what follows it."""
    bare = line.lstrip(b"!" + WHITESPACE)
    wanted = line[: len(line) - len(bare)].count(b"!") % 2 == 0
    if not bare:
        raise SyntaxProblem(f"no regexp{_SKIPPING}")
    end = _closing(bare)
    if end == 0:
        raise SyntaxProblem(f'no closing regexp delimiter "{printable(bare[:1])}"{_SKIPPING}')
    flags = EXTENDED | IGNORE_CASE
    at = end + 1
    while at < len(bare) and bare[at] not in WHITESPACE and bare[at] != 0x21:
        if bare[at] not in _FLAGS:
            raise SyntaxProblem(f'unknown regexp option "{printable(bare[at : at + 1])}"{_SKIPPING}')
        flags ^= _FLAGS[bare[at]]
        at += 1
    return _Text(bare[1:end], flags, wanted), bare[at:]


def _closing(text: bytes) -> int:
    """Where the delimiter that `text` begins with comes again, not behind a backslash; 0: nowhere."""
    at = 1
    while at < len(text):
        if text[at] == 0x5C:
            at += 2
        elif text[at] == text[0]:
            return at
        else:
            at += 1
    return 0
