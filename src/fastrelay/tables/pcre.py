"""pcre: Perl-compatible patterns and what to answer for keys that they match, pcre_table(5).

The library is PyPI's `pcre2` (extra fastrelay[pcre]): the one maintained binding that comes as wheels with
PCRE2 inside, so that it needs no system library and no compiler. Patterns and keys are bytes without UTF,
as in Postfix. The binding sets two options after Python's taste, PCRE2_ALT_BSUX (another meaning of \\x) and
PCRE2_NEVER_BACKSLASH_C; its inner module can leave them out, so that one is used and the version pinned.
No JIT: its small stack overflows on long header lines, where Postfix goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pcre2 import LibraryError, PatternError, _cy

from fastrelay.tables.literals import of_perl
from fastrelay.tables.options import Options
from fastrelay.tables.rules import Condition, RuleTable, Text
from fastrelay.tables.text import SyntaxProblem

# pcre2.h; the library's ABI keeps these values
CASELESS, DOTALL, MULTILINE, EXTENDED = 0x8, 0x20, 0x400, 0x80
ANCHORED, DOLLAR_ENDONLY, UNGREEDY = 0x80000000, 0x10, 0x40000
_NEVER_BACKSLASH_C, _ALT_BSUX = 0x100000, 0x2

_compile, _match, _group = _cy.compile, _cy.match, _cy.match_substring_bynumber
_context = _cy.create_match_context()


class PcrePattern:
    """A compiled pattern. LibraryError: a match was given up because of the library's limits."""

    __slots__ = ("_code", "group_count")

    def __init__(self, regex: bytes, flags: int) -> None:
        self._code = _compile(regex, flags, _NEVER_BACKSLASH_C | _ALT_BSUX)
        self.group_count: int = _cy.pattern_capture_count(self._code)

    def matches(self, subject: bytes) -> bool:
        return _match(self._code, subject, len(subject), 0, _context)[0] is not None

    def groups(self, subject: bytes, highest: int) -> list[bytes] | None:
        """Groups 0 to `highest` of the match (b"" where one took no part), None when there is no match."""
        found = _match(self._code, subject, len(subject), 0, _context)[0]
        if found is None:
            return None
        return [_group(found, subject, number) or b"" for number in range(highest + 1)]


@dataclass(slots=True)
class PcreCondition(Condition):
    """What cannot be told within the library's limits holds neither with `!` nor without; the log is told."""

    complain: Callable[[str], None]

    def holds(self, key: bytes) -> bool:
        try:
            return self.pattern.matches(key) == self.wanted
        except LibraryError as error:
            self.complain(str(error))
            return False

    def groups(self, key: bytes, highest: int) -> list[bytes] | None:
        try:
            return self.pattern.groups(key, highest)
        except LibraryError as error:
            self.complain(str(error))
            return None


class PcreTable(RuleTable):
    type = "pcre"
    options = {  # noqa: RUF012  # the base says ClassVar
        ord("i"): CASELESS,
        ord("m"): MULTILINE,
        ord("s"): DOTALL,
        ord("x"): EXTENDED,
        ord("A"): ANCHORED,
        ord("E"): DOLLAR_ENDONLY,
        ord("U"): UNGREEDY,
    }
    default_flags = CASELESS | DOTALL
    obsolete_options = b"X"
    unclosed = ": ignoring this rule"

    def __init__(self, name: str, how: Options) -> None:
        self._log = how.around.complain
        super().__init__(name, how.utf8)

    def compile(self, text: Text, groups: bool) -> Condition:
        try:
            pattern = PcrePattern(text.regex, text.flags)
        except PatternError as error:
            reason = str(error).partition("; ")[2]
            raise SyntaxProblem(f"error in regex at offset {error.pos}: {reason}") from error

        def complain(reason: str) -> None:
            self._log(f"warning: {self.type} map {self.name}, line {text.line}: {reason}")

        known = None if text.flags & EXTENDED else of_perl(text.regex)
        return PcreCondition(pattern, text.wanted, known, complain)
