"""postconf(1): show parameters and services, edit main.cf. `main` is called by the command line.

Output is Postfix's, byte for byte, for what both know. Warnings go to stderr; exit status 1 is an error.
"""

from __future__ import annotations

import dataclasses
import getopt
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from fastrelay.config import Config, ConfigError, check, read
from fastrelay.config.edit import edit_main, parse_edits
from fastrelay.config.errors import printable
from fastrelay.config.expand import ExpandError, Scope, parse
from fastrelay.config.logical_lines import BLANKS
from fastrelay.config.master_cf import Entry
from fastrelay.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES
from fastrelay.config.usage import is_postfix_name, user_names

USAGE = """usage: postconf [-c config_dir] [-dhHnpx] [name...]
       postconf [-c config_dir] [-e] name=value...
       postconf [-c config_dir] -M [-x] [service[/type]...]
       postconf -m"""

_COLUMNS = (0, 11, 17, 25, 33, 41, 49, 57)  # where Postfix's -M puts the fields
# the delivery agents whose services have parameters of their own
_AGENTS = ("discard", "error", "lmtp", "local", "pipe", "smtp", "virtual")


@dataclasses.dataclass(slots=True)
class Request:
    """What the command line asks for."""

    directory: Path
    names: list[str]
    flags: frozenset[str]


def main(config_dir: Path, args: list[str]) -> int:
    """Run the tool; the exit status."""
    try:
        options, names = getopt.gnu_getopt(args, "c:dehHmMnpx")
    except getopt.GetoptError as error:
        return _fail(f"{error}\n{USAGE}")
    chosen = dict(options)
    request = Request(Path(chosen.pop("-c", config_dir)), names, frozenset(chosen))
    if {"-d", "-n"} <= request.flags:
        return _fail("specify one of -d -n")
    try:
        return _run(request)
    except ConfigError as error:
        return _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(request: Request) -> int:
    if "-m" in request.flags:
        # only this option needs the tables
        from fastrelay.tables import table_types

        return _write(table_types())
    if "-e" in request.flags or any("=" in name for name in request.names):
        edit_main(request.directory, parse_edits(request.names))
        return 0
    if "-M" in request.flags:
        return _show_services(request)
    return _show_parameters(request)


def _fail(reason: str) -> int:
    print(f"postconf: fatal: {reason}", file=sys.stderr)
    return 1


def _warn(text: str) -> None:
    print(f"postconf: warning: {text}", file=sys.stderr)


def _write(lines: Iterable[str]) -> int:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _show_parameters(request: Request) -> int:
    config = read(request.directory)
    shown = _defaults_of(config) if "-d" in request.flags else config
    scope = shown.scope()
    status = _write(
        _line(request.flags, name, _value(shown, scope, name, "-x" in request.flags))
        for name in _selected(request, config)
    )
    if "-d" not in request.flags:
        for warning in check(config):
            _warn(warning)
    return status


def _defaults_of(config: Config) -> Config:
    """The configuration with an empty main.cf."""
    return Config(config.directory, {}, config.entries)


def _selected(request: Request, config: Config) -> Iterator[str]:
    """The names to show: those asked for, or all that the options choose, sorted."""
    own = set(PARAMETERS) | set(_transport_names(config))
    set_here = {name for name in config.main if is_postfix_name(config, name)} | (
        config.main.keys() & (own | user_names(config))
    )
    if request.names:
        known = own if "-d" in request.flags else own | set_here
        for name in request.names:
            if name in known or config.declaration(name):
                yield name
            elif is_postfix_name(config, name):
                _warn(f"{name}: Postfix has this parameter, fastrelay does not use it yet")
            else:
                _warn(f"{printable(name)}: unknown parameter")
    elif "-n" in request.flags:
        yield from sorted(set_here | {"config_directory"})
    else:
        yield from sorted(own if "-d" in request.flags else own | set_here)


def _transport_names(config: Config) -> Iterator[str]:
    """The parameters that the delivery transports of master.cf have by their names."""
    for entry in config.entries:
        if entry.columns[1] == "unix" and entry.columns[7] in _AGENTS:
            yield from (f"{entry.columns[0]}_{suffix}" for suffix in TRANSPORT_SUFFIXES)


def _value(config: Config, scope: Scope, name: str, expanded: bool) -> str:
    try:
        return scope.expand_name(name) if expanded else config.raw(name, None, scope.expand_name) or ""
    except ExpandError as error:
        raise ConfigError(
            str(config.directory / "main.cf"), 0, name, config.main.get(name, ""), str(error)
        ) from None


def _line(flags: frozenset[str], name: str, value: str) -> str:
    """Blanks shrink to one, as in Postfix's output."""
    value = " ".join(part for part in value.replace("\n", " ").replace("\t", " ").split(" ") if part)
    if "-H" in flags:
        return name
    if "-h" in flags:
        return value
    return f"{name} = {value}" if value else f"{name} ="


def _show_services(request: Request) -> int:
    config = read(request.directory)
    wanted = {name: False for name in request.names}
    lines = list[str]()
    for entry in config.entries:
        service, kind = entry.columns[:2]
        matches = [name for name in wanted if _matches(name, service, kind)]
        wanted |= dict.fromkeys(matches, True)
        if matches or not wanted:
            lines.append(_format_entry(_expand_entry(config, entry) if "-x" in request.flags else entry))
    for name, found in wanted.items():
        if not found:
            _warn(f'unmatched request: "{printable(name)}"')
    return _write(lines)


def _matches(pattern: str, service: str, kind: str) -> bool:
    """`service` or `service/type`, either may be `*`."""
    name, _, wanted_kind = pattern.partition("/")
    return name in (service, "*") and wanted_kind in (kind, "*", "")


def _expand_entry(config: Config, entry: Entry) -> Entry:
    """The entry with $name in what -o sets replaced."""
    options = dict(option.partition("=")[::2] for option in entry.options)
    scope = config.scope({"service_name": entry.columns[0], **options})
    try:
        expanded = {option: scope.expand(parse(option)) for option in entry.options}
    except ExpandError as error:
        raise ConfigError(entry.file, entry.line, entry.columns[0], None, str(error)) from None
    return dataclasses.replace(entry, args=tuple(expanded.get(arg, arg) for arg in entry.args))


def _format_entry(entry: Entry) -> str:
    """The fields at Postfix's columns, one blank at least between them, then the arguments."""
    line = ""
    for column, field in zip(_COLUMNS, entry.columns, strict=True):
        line = (line + " ").ljust(column) + field if line else field
    return " ".join((line, *map(_braced, entry.args)))


def _braced(argument: str) -> str:
    return f"{{{argument}}}" if any(blank in argument for blank in BLANKS) or not argument else argument
