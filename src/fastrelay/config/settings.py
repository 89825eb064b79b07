"""Config: the settings of one directory, expanded and typed; `load` reads and checks all of it.

Master asks `load` once and hands each room its `section`. After `load` no setting can fail: every
declared parameter was converted, for main.cf and for each service's -o. postconf(5), master(5).
"""

from __future__ import annotations

import dataclasses
import os
import socket
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fastrelay.config.computed import COMPUTED
from fastrelay.config.declaration import Kind, Parameter, Value
from fastrelay.config.errors import ConfigError
from fastrelay.config.expand import ExpandError, Scope, parse, references
from fastrelay.config.logical_lines import read_text, split_quoted
from fastrelay.config.main_cf import Setting, parse_main
from fastrelay.config.master_cf import Entry, Service, make_service, parse_master
from fastrelay.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES

Room = TypeVar("Room")
Overrides = Mapping[str, str]

NO_OVERRIDES: Overrides = {}
_KINDS: dict[Any, tuple[Kind, ...]] = {
    bool: (Kind.BOOL,),
    int: (Kind.INT, Kind.SIZE),
    float: (Kind.TIME,),
    str: (Kind.TEXT, Kind.ENUM, Kind.LIST),
    tuple[str, ...]: (Kind.LIST, Kind.TEXT),
}


class Config:
    """What main.cf and master.cf of a directory say. `warnings` are those of reading them."""

    def __init__(self, directory: Path, settings: Mapping[str, Setting], entries: Iterable[Entry]) -> None:
        self.directory = directory
        self.settings = dict(settings)
        self.main = {name: setting.value for name, setting in settings.items()}
        self.entries = list(entries)
        self.services: list[Service] = []
        self.warnings: list[str] = []
        self.transports = {entry.columns[0] for entry in self.entries if entry.columns[1] == "unix"}
        self._scope = self.scope()

    def scope(self, overrides: Overrides | None = None) -> Scope:
        """An evaluation of parameters with some overridden."""

        def raw(name: str) -> str | None:
            return self.raw(name, overrides, scope.expand_name)

        scope = Scope(raw)
        return scope

    def raw(self, name: str, overrides: Overrides | None, expand: Callable[[str], str]) -> str | None:
        """The value before expansion: override, main.cf, default; None when nothing defines the name."""
        if overrides and name in overrides:
            return overrides[name]
        if name in self.main:
            return self.main[name]
        return self.default(name, expand)

    def default(self, name: str, expand: Callable[[str], str]) -> str | None:
        """The default before expansion, None when the name has none."""
        if name == "config_directory":
            return os.fspath(self.directory).replace("$", "$$")
        # with mydomain unset, myhostname decides both; with mydomain set it completes myhostname
        if name == "myhostname" and "mydomain" not in self.main:
            return COMPUTED[name](lambda _: "")
        if name in COMPUTED:
            return COMPUTED[name](expand)
        if name in PARAMETERS:
            return PARAMETERS[name].default
        suffix = self.transport_suffix(name)
        return f"${_fallback(suffix)}" if suffix else None

    def transport_suffix(self, name: str) -> str | None:
        """The suffix when the name is `<transport>_<suffix>` of a transport in master.cf."""
        for suffix in TRANSPORT_SUFFIXES:
            if name.endswith(f"_{suffix}") and name[: -len(suffix) - 1] in self.transports:
                return suffix
        return None

    def declaration(self, name: str) -> Parameter | None:
        """How a parameter is declared; a transport's own parameter is as the one that it falls back to."""
        if name in PARAMETERS:
            return PARAMETERS[name]
        suffix = self.transport_suffix(name)
        return dataclasses.replace(PARAMETERS[_fallback(suffix)], name=name) if suffix else None

    def text(self, name: str, overrides: Overrides | None = None) -> str:
        """The expanded value; "" when nothing defines the name."""
        return self._text(name, self.scope(overrides) if overrides else self._scope)

    def texts(self) -> Iterator[str]:
        """All that main.cf and the -o of master.cf set, expanded; a name of the user's own that cannot be, as it is."""
        for overrides in (None, *(service.overrides for service in self.services)):
            for name, raw in (self.main if overrides is None else overrides).items():
                try:
                    yield self.text(name, overrides)
                except ConfigError:
                    yield raw

    def value(self, name: str, overrides: Overrides | None = None) -> Value:
        """The typed value of a declared parameter."""
        return self._value(name, self.scope(overrides) if overrides else self._scope)

    def for_transport(self, transport: str, suffix: str) -> Value:
        """`<transport>_<suffix>` if set or declared, else `default_<suffix>`."""
        name, fallback = f"{transport}_{suffix}", _fallback(suffix)
        if name in PARAMETERS:
            return self.value(name)
        text = self.text(name if name in self.main else fallback)
        return self._convert(dataclasses.replace(PARAMETERS[fallback], name=name), text)

    @property
    def workers(self) -> int:
        """How many workers to run: fastrelay_workers, or one a core."""
        return int(str(self.value("fastrelay_workers"))) or len(os.sched_getaffinity(0))

    def port(self, service: str) -> int | None:
        """The TCP port of a number or a service name, None when it has none."""
        if service.isascii() and service.isdigit():
            return int(service) if len(service) < 6 and int(service) < 65536 else None
        for words in split_quoted(self.text("known_tcp_ports")):
            *aliases, number = words.split("=")
            if service in aliases and int(number) < 65536:
                return int(number)
        try:
            return socket.getservbyname(service, "tcp")
        except (OSError, UnicodeError, ValueError):
            return None

    def room(self, cls: type[Room], overrides: Overrides) -> Room:
        """See `section`."""
        scope = self.scope(overrides) if overrides else self._scope
        hints = typing.get_type_hints(cls)
        values = {}
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            name = field.metadata.get("parameter") or field.name.lstrip("_")
            values[field.name] = self._field(cls, name, hints[field.name], scope)
        return cls(**values)

    def _field(self, cls: type, name: str, wanted: Any, scope: Scope) -> Value:
        declared = self.declaration(name)
        if declared is None:
            raise TypeError(f"{cls.__name__}: {name} is not declared in config/parameters")
        if declared.kind not in _KINDS.get(wanted, ()):
            raise TypeError(f"{cls.__name__}: {name} is {declared.kind.value}, not {wanted}")
        value = self._value(name, scope)
        if wanted is str and not isinstance(value, str):
            return self._text(name, scope)
        if wanted == tuple[str, ...] and isinstance(value, str):
            return tuple(split_quoted(value))
        return value

    def _text(self, name: str, scope: Scope) -> str:
        try:
            return scope.expand_name(name)
        except ExpandError as error:
            raise self._error(name, self.main.get(name, ""), str(error)) from None

    def _value(self, name: str, scope: Scope) -> Value:
        declared = self.declaration(name)
        if declared is None:
            raise TypeError(f"{name} is not declared in config/parameters")
        return self._convert(declared, self._text(name, scope))

    def _convert(self, declared: Parameter, text: str) -> Value:
        try:
            return declared.convert(text)
        except ValueError as error:
            raise self._error(declared.name, text, str(error)) from None

    def _error(self, name: str, value: str, reason: str) -> ConfigError:
        origin = self._origin(name)
        line = self.settings[origin].line if origin else 0
        return ConfigError(os.fspath(self.directory / "main.cf"), line, name, value, reason)

    def _origin(self, name: str) -> str | None:
        """The setting of main.cf that a value comes from: its own, or one that its default refers to."""
        seen, waiting = set[str](), [name]
        while waiting:
            name = waiting.pop()
            if name in self.settings:
                return name
            if name not in seen:
                seen.add(name)
                raw = "" if name in COMPUTED else self.default(name, lambda _: "") or ""
                waiting += [found for found, _ in references(parse(raw))]
        return None

    def check_values(self) -> None:
        """Convert every declared parameter, for main.cf and then for each service's overrides."""
        names = {*PARAMETERS, *(name for name in self.main if self.transport_suffix(name))}
        # what is set comes first: defaults may only repeat its mistake
        for name in sorted(names, key=lambda name: (name not in self.main, name)):
            self._value(name, self._scope)
        for service in self.services:
            scope = self.scope(service.overrides)
            for name in sorted(names | {name for name in service.overrides if self.declaration(name)}):
                try:
                    self._value(name, scope)
                except ConfigError as error:
                    raise self._service_error(service, error) from None

    def _service_error(self, service: Service, error: ConfigError) -> ConfigError:
        """A value that only a service's -o makes wrong stands in master.cf."""
        value = error.value if error.value is not None else service.overrides.get(error.name)
        value = value or service.overrides.get(error.name, "")
        file = os.fspath(self.directory / "master.cf")
        return ConfigError(file, service.line, error.name, value, error.allowed)


def _fallback(suffix: str) -> str:
    """What `<transport>_<suffix>` falls back to."""
    return f"default_{suffix}" if f"default_{suffix}" in PARAMETERS else suffix


def read_main(directory: Path) -> Config:
    """main.cf alone, for the tools that know no services: they work where there is no master.cf."""
    file = directory / "main.cf"
    settings, _ = parse_main(os.fspath(file), read_text(file))
    return Config(directory, settings, ())


def read(directory: Path) -> Config:
    """main.cf and master.cf as they stand, values not yet checked; for tools that show and mend them."""
    main_file, master_file = directory / "main.cf", directory / "master.cf"
    settings, warnings = parse_main(os.fspath(main_file), read_text(main_file))
    entries = parse_master(os.fspath(master_file), read_text(master_file))
    config = Config(directory, settings, entries)
    config.warnings += warnings
    return config


def load(directory: Path) -> Config:
    """The configuration of a directory, checked; ConfigError says what is wrong with it."""
    config = read(directory)
    limit = int(str(config.value("default_process_limit")))
    services = dict[tuple[str, str], Service]()
    for entry in config.entries:
        key = (entry.columns[0], entry.columns[1])
        if key in services:
            config.warnings.append(
                f"{entry.file}, line {entry.line}: overriding earlier entry: {' '.join(key)}"
            )
        services[key] = make_service(entry, limit, config.port)
    config.services = list(services.values())
    config.check_values()
    return config


def section(cls: type[Room], config: Config, overrides: Overrides = NO_OVERRIDES) -> Room:
    """Fill a room's frozen settings: fields are parameters (a leading `_` is dropped: `_2bounce_...`)."""
    return config.room(cls, overrides)
