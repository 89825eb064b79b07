"""What every lookup table is: a label, get(), and the error that says "no answer now".

The registry makes tables; restrictions, rewriting, matching and postmap ask them. The invariant that
all rely on: None means that the key is not there, and whatever keeps a table from knowing that is a
TableError (the caller answers 451 or defers), never None.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import ClassVar

from fastrelay.tables.text import SyntaxProblem, printable

RETRY_SECONDS = 1.0  # a table that could not be read is tried again at most this often


class TableError(Exception):
    """A table cannot answer now. `unavailable`: the table as a whole, not only this key."""

    def __init__(self, label: str, reason: str, unavailable: bool = True) -> None:
        super().__init__(f"{label}: {reason}")
        self.label = label
        self.reason = reason
        self.unavailable = unavailable

    def warnings(self, key: bytes) -> list[str]:
        """What Postfix logs as warnings when a lookup of `key` fails."""
        lines = [f"{self.label} is unavailable. {self.reason}"] if self.unavailable else []
        return [*lines, f'{self.label} lookup error for "{key.decode("utf-8", "backslashreplace")}"']


class Table:
    """One lookup table. `problem`: why it cannot answer (None: it can); `warnings`: its source's mistakes."""

    type: ClassVar[str] = ""
    constant: ClassVar[bool] = False  # True: the answers never change while the table is open
    pattern: bool = False  # True: not for partial keys, and keys come as they are (DICT_FLAG_PATTERN)
    remote: bool = False  # True: get() may raise Pending (tables/pending.py)

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = f"{self.type}:{name}"
        self.problem: str | None = None
        self.warnings: list[str] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, None when it is not there; TableError when that cannot be told now."""
        raise NotImplementedError

    def items(self) -> Iterator[tuple[bytes, bytes]] | AsyncIterator[tuple[bytes, bytes]]:
        """All entries (postmap -s, sync-table), for the types that can list them.

        A local table gives an iterator, a remote one an async iterator (`async def items` with `yield`), in any
        order, from memory that does not grow with their number: pages, a server-side cursor, SCAN. TableError
        as soon as the list cannot be completed, when half of it was given too: part of a list must never
        pass for the whole. admin/table_waiter.py reads both kinds.
        """
        raise TableError(self.label, "sequence operation is not supported", unavailable=False)

    def version(self) -> object:
        """Changes when the answers may have changed: resolvers compare it to drop what they remember."""
        return None


class SourceTable(Table):
    """A table read whole from a text file or from braces in its name; an unreadable file is tried again.

    As with Postfix, a file that was read is not looked at again until reload. The types give `load`.
    """

    open_verb: ClassVar[str] = "open"
    read_problem: ClassVar[str] = "open {}"  # what could be opened and not read: a directory

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._next_try = 0.0
        self._try_to_load()

    def load(self) -> None:
        """Read the source: OSError when it cannot be read, SyntaxProblem when it is no table at all."""
        raise NotImplementedError

    def check(self) -> None:
        """Call before an answer: raises TableError while the source cannot be read."""
        if self.problem is None:
            return
        if self._next_try and time.monotonic() >= self._next_try:
            self._try_to_load()
        if self.problem is not None:
            raise TableError(self.label, self.problem)

    def _try_to_load(self) -> None:
        self.warnings = []
        try:
            self.load()
        except OSError as error:
            unread = error.errno == errno.EISDIR
            what = self.read_problem.format(self.name) if unread else f"{self.open_verb} {self.name}"
            self.problem = f"{what}: {strerror(error)}"
            self._next_try = time.monotonic() + RETRY_SECONDS
        except SyntaxProblem as error:
            self.problem = f"{self.type} map: {error}"
        else:
            self.problem = None


Fold = Callable[[bytes], bytes | None]


def fold_utf8(key: bytes) -> bytes | None:
    """Folded as Postfix does with smtputf8_enable = yes: Unicode's way; None: not UTF-8, so in no table."""
    if key.isascii():
        return key.lower()
    try:
        return key.decode().casefold().encode()
    except UnicodeDecodeError:
        return None


def fold_ascii(key: bytes) -> bytes | None:
    """Lower case with smtputf8_enable = no."""
    return key.lower()


def fold_nothing_utf8(key: bytes) -> bytes | None:
    """postmap -f: the key as it is, when it is UTF-8."""
    return key if is_utf8(key) else None


def fold_nothing(key: bytes) -> bytes | None:
    """postmap -f -u: the key as it is."""
    return key


def is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_value(label: str, key: bytes, value: bytes) -> bytes:
    """A value that is not UTF-8 is an error of the table's owner, while smtputf8_enable = yes."""
    if not is_utf8(value):
        raise TableError(
            label, f'key "{printable(key)}": non-UTF-8 value "{printable(value)}"', unavailable=False
        )
    return value


def choose_fold(fold: bool, utf8: bool) -> Fold:
    if fold:
        return fold_utf8 if utf8 else fold_ascii
    return fold_nothing_utf8 if utf8 else fold_nothing


def strerror(error: OSError) -> str:
    """The system's words for an error, as %m in Postfix."""
    return os.strerror(error.errno) if error.errno is not None else str(error)
