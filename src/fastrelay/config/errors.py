"""ConfigError: what is wrong with a setting, in one line that an operator can act on.

Raised by everything in `config`; master and the tools print it and end. It never shows as a traceback.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """Control characters, and bytes that are not UTF-8, replaced so that one line stays one line."""
    return "".join(char if char.isprintable() else "?" for char in text)


class ConfigError(Exception):
    """A setting that cannot be used: where it stands, its name and value, and what is allowed."""

    def __init__(
        self, file: str, line: int = 0, name: str = "", value: str | None = None, allowed: str = ""
    ) -> None:
        super().__init__(file, line, name, value, allowed)
        self.file, self.line, self.name, self.value, self.allowed = file, line, name, value, allowed

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        setting = self.name if self.value is None else f"{self.name} = {self.value}".strip()
        return printable(": ".join(part for part in (where, setting, self.allowed) if part))
