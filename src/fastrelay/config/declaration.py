"""What a parameter is: its declaration, the kinds of value, and conversion of text to a value.

`parameters` declares with it, `settings` converts with it, `reference` renders it. A value that does
not fit raises ValueError with what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from fastrelay.config.logical_lines import BLANKS, split_quoted

Value = bool | int | float | str | tuple[str, ...]

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_TIME = re.compile(r"([0-9]{1,9})[ \t]*([smhdw]?)", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
INT_MAX = 2**31 - 1
SIZE_MAX = 2**63 - 1


class Kind(Enum):
    """The kinds of value; the value is the word in the reference."""

    BOOL = "yes/no"
    INT = "int"
    TIME = "time"
    SIZE = "size"
    LIST = "list"
    TEXT = "text"
    ENUM = "enum"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that fastrelay reads: declared here once, for the parser, the tools and the reference.

    `unit` is the unit of a time without suffix, or of a number in the reference. `default` is a raw value;
    `computed` says in words what it is when it comes from the system.
    """

    name: str
    kind: Kind
    default: str
    unit: str
    doc: str
    minimum: int = 0
    maximum: int = INT_MAX
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_doc: str = ""
    computed: str = ""

    @property
    def allowed(self) -> str:
        """What may be given, for messages and the reference."""
        if self.kind is Kind.BOOL:
            return "yes or no"
        if self.kind is Kind.ENUM:
            return "one of " + ", ".join(choice or "(empty)" for choice in self.choices)
        if self.kind is Kind.TIME:
            return f"number with s, m, h, d or w (default: {self.unit}), at least {self.minimum}"
        if self.kind in (Kind.INT, Kind.SIZE):
            limit = SIZE_MAX if self.kind is Kind.SIZE else INT_MAX
            return f"number, at least {self.minimum}" + (
                f", at most {self.maximum}" if self.maximum < limit else ""
            )
        return self.pattern_doc

    def convert(self, text: str) -> Value:
        """The typed value of an expanded text; ValueError says what is allowed."""
        match self.kind:
            case Kind.BOOL:
                return self._convert_bool(text)
            case Kind.INT | Kind.SIZE:
                return self._convert_number(text)
            case Kind.TIME:
                return self._convert_time(text)
            case Kind.ENUM:
                return self._convert_enum(text)
            case Kind.LIST:
                return tuple(split_quoted(self._matched(text)))
            case Kind.TEXT:
                return self._matched(text)

    def _refuse(self) -> ValueError:
        return ValueError(f"allowed: {self.allowed}")

    def _convert_bool(self, text: str) -> bool:
        if text.lower() not in ("yes", "no"):
            raise self._refuse()
        return text.lower() == "yes"

    def _convert_number(self, text: str) -> int:
        if not _INTEGER.fullmatch(text.strip(BLANKS)):
            raise self._refuse()
        return self._limited(int(text))

    def _convert_time(self, text: str) -> float:
        match = _TIME.fullmatch(text.strip(BLANKS))
        if not match:
            raise self._refuse()
        seconds = int(match[1]) * _SECONDS[match[2].lower() or self.unit]
        return float(self._limited(seconds))

    def _convert_enum(self, text: str) -> str:
        if text.lower() not in self.choices:
            raise self._refuse()
        return text.lower()

    def _limited(self, number: int) -> int:
        if not self.minimum <= number <= self.maximum:
            raise self._refuse()
        return number

    def _matched(self, text: str) -> str:
        if not text.isascii() and text.encode("utf-8", "replace").decode() != text:  # it holds other bytes
            raise ValueError("allowed: UTF-8 text")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise self._refuse()
        return text


def yes_no(name: str, default: str, doc: str) -> Parameter:
    return Parameter(name, Kind.BOOL, default, "", doc)


def integer(
    name: str, default: str, doc: str, *, unit: str = "", minimum: int = 0, maximum: int = INT_MAX
) -> Parameter:
    return Parameter(name, Kind.INT, default, unit, doc, minimum, maximum)


def size(name: str, default: str, doc: str, *, minimum: int = 0) -> Parameter:
    return Parameter(name, Kind.SIZE, default, "bytes", doc, minimum, SIZE_MAX)


def time(name: str, default: str, doc: str, *, unit: str = "s", minimum: int = 0) -> Parameter:
    return Parameter(name, Kind.TIME, default, unit, doc, minimum)


def reply_code(name: str, default: str, doc: str) -> Parameter:
    """A reply code of SMTP: 4xx or 5xx (Postfix takes any three digits; we refuse what is no refusal)."""
    return Parameter(name, Kind.INT, default, "reply code", doc, 400, 599)


def names(name: str, default: str, doc: str, *, pattern: str = "", pattern_doc: str = "") -> Parameter:
    """A list, split at commas and blanks outside of braces."""
    return Parameter(name, Kind.LIST, default, "", doc, pattern=pattern, pattern_doc=pattern_doc)


def text(
    name: str, default: str, doc: str, *, pattern: str = "", pattern_doc: str = "", computed: str = ""
) -> Parameter:
    return Parameter(
        name, Kind.TEXT, default, "", doc, pattern=pattern, pattern_doc=pattern_doc, computed=computed
    )


def choice(name: str, default: str, choices: tuple[str, ...], doc: str) -> Parameter:
    return Parameter(name, Kind.ENUM, default, "", doc, choices=choices)


def required(name: str, default: str, doc: str) -> Parameter:
    """A text that cannot be empty."""
    return text(name, default, doc, pattern=r"(?s).+", pattern_doc="anything but the empty value")
