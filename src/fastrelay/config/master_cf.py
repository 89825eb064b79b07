"""master.cf: eight columns and arguments a service (master(5)).

`parse_entry` gives the columns as Postfix's postconf shows them, with every option in the form
`-x`, `-o`, `name=value`; `make_service` gives them meaning. Errors name file and line.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from fastrelay.config.errors import ConfigError
from fastrelay.config.logical_lines import BLANKS, logical_lines, split_quoted, split_setting, strip_braces

TYPES = ("inet", "unix", "unix-dgram", "fifo", "pass")
COLUMNS = ("service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command")

_WAKEUP = re.compile(r"-|([0-9]{1,9})(\??)")
_LIMIT = re.compile(r"-|[0-9]{1,9}")
_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9_.-]{1,255}(?<![-.])")


@dataclass(frozen=True, slots=True)
class Entry:
    """One logical line: the eight columns, then arguments with options taken apart."""

    file: str
    line: int
    columns: tuple[str, ...]
    args: tuple[str, ...]

    @property
    def options(self) -> Iterator[str]:
        """The `name=value` of each -o."""
        at = 0
        while at < len(self.args) and self.args[at].startswith("-") and self.args[at] != "--":
            if self.args[at] == "-o" and at + 1 < len(self.args):
                yield self.args[at + 1]
                at += 1
            at += 1


@dataclass(frozen=True, slots=True)
class Service:
    """A service of master.cf. `host` is "" for all of inet_interfaces; `maxproc` 0 is no limit.

    `overrides` has what `-o` sets, and service_name and process_name as Postfix gives each daemon.
    """

    name: str
    type: str
    private: bool
    unprivileged: bool
    chroot: bool
    wakeup: int
    maxproc: int
    command: str
    args: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict, hash=False)
    line: int = 0
    host: str = ""
    port: int = 0
    wakeup_when_used: bool = False  # the "?" of the wake-up column


def parse_master(file: str, text: str) -> list[Entry]:
    """The entries of a master.cf, in order, with those that a later line overrides."""
    return [parse_entry(file, line, logical) for line, logical in logical_lines(file, text)]


def parse_entry(file: str, line: int, text: str) -> Entry:
    """One logical line, its columns checked."""
    words = split_quoted(text, BLANKS)
    if len(words) < len(COLUMNS):
        missing = COLUMNS[len(words)]
        raise ConfigError(file, line, text, None, f'missing "{missing}" field; allowed: {" ".join(COLUMNS)}')
    columns, arguments = tuple(words[: len(COLUMNS)]), words[len(COLUMNS) :]
    _check_columns(file, line, columns)
    return Entry(file, line, columns, tuple(_normalize_arguments(file, line, arguments)))


def _check_columns(file: str, line: int, columns: tuple[str, ...]) -> None:
    def check(index: int, good: bool, allowed: str) -> None:
        if not good:
            raise ConfigError(
                file, line, f"service {columns[0]}", None, f'{COLUMNS[index]} "{columns[index]}": {allowed}'
            )

    check(1, columns[1] in TYPES, f"allowed: {', '.join(TYPES)}")
    for index in (2, 3, 4):
        check(index, columns[index] in ("y", "n", "-"), "allowed: y, n, -")
    # the default of "private" is y, and a network port cannot be private
    check(2, columns[1] != "inet" or columns[2] == "n", "an inet service cannot be private; allowed: n")
    check(5, bool(_WAKEUP.fullmatch(columns[5])), 'allowed: -, seconds, or seconds and "?"')
    check(6, bool(_LIMIT.fullmatch(columns[6])), "allowed: -, or a number (0: no limit)")
    check(7, columns[7] != "-", "this field has no default")


def _normalize_arguments(file: str, line: int, words: list[str]) -> Iterator[str]:
    """`-vofoo=bar` as -v -o foo=bar; braces removed; `{ name = value }` of -o as name=value."""
    pending, in_options = words[::-1], True
    while pending:
        word = pending.pop()
        in_options = in_options and word.startswith("-") and word not in ("-", "--")
        if not in_options:
            yield _unbrace(file, line, word)
            continue
        flags, o, value = word.partition("o")
        if not o:
            yield word
            continue
        if flags != "-":
            yield flags
        yield "-o"
        if not value and not pending:
            raise ConfigError(file, line, "-o", None, "allowed: -o name=value or -o { name = value }")
        yield _override(file, line, value or pending.pop())


def _unbrace(file: str, line: int, word: str) -> str:
    if not word.startswith("{"):
        return word
    inside = strip_braces(word)
    if inside is None:
        raise ConfigError(file, line, word, None, "the braces are not balanced; allowed: { text }")
    return inside


def _override(file: str, line: int, word: str) -> str:
    setting = split_setting(_unbrace(file, line, word))
    if isinstance(setting, str):
        raise ConfigError(file, line, f"-o {word}", None, setting)
    return "=".join(setting)


def make_service(entry: Entry, default_limit: int, port_of: Callable[[str], int | None]) -> Service:
    """What an entry means, with the defaults of master(5)."""
    name, kind, private, unprivileged, chroot, wakeup, limit, command = entry.columns
    seconds = _WAKEUP.fullmatch(wakeup)
    host, port = _endpoint(entry, port_of) if kind == "inet" else ("", 0)
    overrides = {"service_name": name, "process_name": PurePath(command).name}
    overrides |= dict(option.split("=", 1) for option in entry.options)
    return Service(
        name=name,
        type=kind,
        private=private != "n",
        unprivileged=unprivileged != "n",
        chroot=chroot == "y",
        wakeup=int(seconds[1] or 0) if seconds else 0,
        maxproc=default_limit if limit == "-" else int(limit),
        command=command,
        args=entry.args,
        overrides=overrides,
        line=entry.line,
        host=host,
        port=port,
        wakeup_when_used=wakeup.endswith("?"),
    )


def _endpoint(entry: Entry, port_of: Callable[[str], int | None]) -> tuple[str, int]:
    """host and port of `host:port`, `[host]:port`, `::1:port` or `port`."""
    host, _, service = entry.columns[0].rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    port = port_of(service)
    if port is None:
        allowed = "unknown port; allowed: port, host:port or [address]:port, port a number or service name"
        raise ConfigError(entry.file, entry.line, f"service {entry.columns[0]}", None, allowed)
    if host and not _is_address(host) and not _HOSTNAME.fullmatch(host):
        allowed = "bad hostname or network address; allowed: port, host:port or [address]:port"
        raise ConfigError(entry.file, entry.line, f"service {entry.columns[0]}", None, allowed)
    return host, port


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
