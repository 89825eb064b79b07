"""Which texts must be in a key that a pattern matches: read from POSIX (extended) and Perl patterns.

rules.py asks for each rule, prefilter.py uses it. A pattern is read only as far as it is understood without
doubt: whatever is unusual makes the whole pattern unknown (None), and its rule is then tried for every key.
The patterns have been compiled before, so they are well-formed.
"""

from __future__ import annotations

import re

from fastrelay.tables.known import ANY, EMPTY, Known, alternate, concatenate, literal, one_of, repeat

DEPTH = 50  # groups in groups

_PLAIN = re.compile(rb"[A-Za-z0-9@_=:,;/-]+(?![*+?{])")  # itself in both languages
_INTERVAL = re.compile(rb"\{(\d{1,4})(?:(,)(\d{0,4}))?\}")
_POSIX_CLASS = re.compile(rb"\[:\^?[a-z]+:\]")


class _Unusual(Exception):
    """The pattern has something in it that this reader does not understand."""


def of_posix(pattern: bytes) -> Known | None:
    """For a POSIX extended pattern, as the GNU C library reads it."""
    return _read(_Posix(pattern))


def of_perl(pattern: bytes) -> Known | None:
    """For a PCRE2 pattern without PCRE2_EXTENDED."""
    return _read(_Perl(pattern))


def _read(reader: _Reader) -> Known | None:
    try:
        known = reader.alternatives()
        return known if reader.at == len(reader.text) else None
    except (_Unusual, IndexError):  # IndexError: cut off in the middle
        return None


class _Reader:
    """What both languages share: alternatives, sequences, repetitions."""

    brackets_escape = False  # a backslash means something in [...]

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = 0
        self._depth = 0

    def alternatives(self) -> Known:
        """Up to the closing parenthesis or the end."""
        self._depth += 1
        if self._depth > DEPTH:
            raise _Unusual
        branches = [self._sequence()]
        while self.at < len(self.text) and self.text[self.at] == 0x7C:  # |
            self.at += 1
            branches.append(self._sequence())
        self._depth -= 1
        return alternate(branches)

    def group(self) -> Known:
        """Behind an opening parenthesis: the content, and the closing one is passed."""
        known = self.alternatives()
        if self.text[self.at] != 0x29:
            raise _Unusual
        self.at += 1
        return known

    def atom(self) -> Known:
        c = self.text[self.at]
        self.at += 1
        if c == 0x28:
            return self.parenthesis()
        if c == 0x5B:
            return self.bracket()
        if c == 0x2E:
            return ANY
        if c in b"^$":
            return EMPTY
        if c == 0x5C:
            return self.escape()
        return self.brace() if c == 0x7B else literal(bytes([c]))

    def parenthesis(self) -> Known:
        """Behind an opening one."""
        return self.group()

    def escape(self) -> Known:
        """Behind a backslash."""
        raise NotImplementedError

    def brace(self) -> Known:
        """Behind an opening one that is no repetition."""
        raise _Unusual

    def after_repeat(self) -> None:
        """Pass what may follow a repetition."""

    def _sequence(self) -> Known:
        parts: list[Known] = []
        while self.at < len(self.text) and self.text[self.at] not in b"|)":
            if self.text[self.at] in b"*+?":
                raise _Unusual  # with nothing before it
            if plain := _PLAIN.match(self.text, self.at):
                parts.append(literal(plain.group()))
                self.at = plain.end()
            else:
                parts.append(self._repeated(self.atom()))
        return concatenate(parts)

    def _repeated(self, item: Known) -> Known:
        while self.at < len(self.text) and self.text[self.at] in b"*+?{":
            low, high = self._counts()
            if low < 0:
                return item
            if item is EMPTY:
                raise _Unusual  # an anchor repeated
            item = repeat(item, low, high)
            self.after_repeat()
        return item

    def _counts(self) -> tuple[int, int | None]:
        """The bounds of the repetition here, -1: this brace is a character."""
        c = self.text[self.at]
        if c != 0x7B:
            self.at += 1
            return (1 if c == 0x2B else 0), (1 if c == 0x3F else None)
        match = _INTERVAL.match(self.text, self.at)
        if match is None:
            return self.odd_brace(), None
        self.at = match.end()
        low = int(match[1])
        if match[2] is None:
            return low, low
        return low, int(match[3]) if match[3] else None

    def odd_brace(self) -> int:
        raise _Unusual

    def bracket(self) -> Known:
        """Behind `[`: one character of a set."""
        negated = self.text[self.at] == 0x5E
        self.at += negated
        members = bytearray()
        plain = not negated
        first = True
        while first or self.text[self.at] != 0x5D:
            first = False
            c = self.text[self.at]
            if c == 0x5B and self.text[self.at + 1] in b":.=":
                match = _POSIX_CLASS.match(self.text, self.at)
                if match is None:
                    raise _Unusual
                self.at, plain = match.end(), False
            elif c == 0x5C and self.brackets_escape:
                self.bracket_escape()
                plain = False
            else:
                plain &= c != 0x2D
                members.append(c)
                self.at += 1
        self.at += 1
        return one_of(bytes(members)) if plain else ANY

    def bracket_escape(self) -> None:
        raise _Unusual


class _Posix(_Reader):
    """regcomp() with REG_EXTENDED."""

    def escape(self) -> Known:
        c = self.text[self.at]
        self.at += 1
        if c in b"bB<>`'":  # GNU's anchors
            return EMPTY
        return ANY if bytes([c]).isalnum() or c >= 0x80 else literal(bytes([c]))


class _Perl(_Reader):
    """PCRE2, bytes."""

    brackets_escape = True

    _GROUP = re.compile(rb"\?(?:[:>|]|P?<[A-Za-z_]\w*>|'[A-Za-z_]\w*'|([ims-]+):)")
    _LOOK = re.compile(rb"\?<?[=!]")
    _COMMENT = re.compile(rb"\?#[^)]*\)")
    _OPTION = re.compile(rb"\?[ims-]+\)")
    _HEX = re.compile(rb"x(?:\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{0,2})")

    def brace(self) -> Known:
        return literal(b"{")

    def after_repeat(self) -> None:
        """Lazy or possessive."""
        self.at += self.at < len(self.text) and self.text[self.at] in b"?+"

    def odd_brace(self) -> int:
        """Later versions than Debian's know `{,3}` and blanks in braces: only what none knows is a character."""
        if re.match(rb"\{[ \t\d,]*\}", self.text[self.at :]):
            raise _Unusual
        return -1

    def parenthesis(self) -> Known:
        if self.text[self.at] == 0x2A:  # (*VERB)
            raise _Unusual
        if self.text[self.at] != 0x3F:
            return self.group()
        if match := self._GROUP.match(self.text, self.at):
            self.at = match.end()
            return self.group()
        if match := self._LOOK.match(self.text, self.at):
            self.at = match.end()
            self.group()
            return EMPTY
        match = self._COMMENT.match(self.text, self.at) or self._OPTION.match(self.text, self.at)
        if match is None:
            raise _Unusual
        self.at = match.end()
        return EMPTY

    def escape(self) -> Known:
        c = self.text[self.at]
        if c == 0x78:  # \x
            match = self._HEX.match(self.text, self.at)
            assert match is not None
            if self.text[match.end() : match.end() + 1] == b"{":
                raise _Unusual
            self.at = match.end()
            return ANY
        self.at += 1
        following = self.text[self.at : self.at + 1]
        if c in b"bBAzZGK":
            return EMPTY
        if c in b"dDwWsShHvVRXCaefnrt" or (c in b"123456789" and not following.isdigit()):
            return ANY
        if c == 0x4E and following != b"{":  # \N
            return ANY
        if bytes([c]).isalnum() or c >= 0x80:
            raise _Unusual
        return literal(bytes([c]))

    def bracket_escape(self) -> None:
        if self.text[self.at + 1] in b"cQEN":  # they take more with them
            raise _Unusual
        self.at += 2
