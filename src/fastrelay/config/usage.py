"""Which settings have no effect, and why: one warning each, for start, `check` and postconf.

A name has an effect when it is declared in `parameters`, is a transport's own, or is referred to by
another value. The rest Postfix has and fastrelay does not use yet, or nobody knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from fastrelay.config.errors import printable
from fastrelay.config.expand import ExpandError, parse, references
from fastrelay.config.logical_lines import split_quoted
from fastrelay.config.parameters import PARAMETERS
from fastrelay.config.postfix_names import POSTFIX_NAMES
from fastrelay.config.settings import Config
from fastrelay.config.table_parameters import table_parameters

# Postfix's names that begin with a service's name
_SERVICE_SUFFIXES = (
    "_initial_destination_concurrency",
    "_time_limit",
    *(name.removeprefix("default") for name in POSTFIX_NAMES if name.startswith("default_")),
)


def check(config: Config) -> list[str]:
    """All warnings: those of reading the files, then what is set in vain or refers to nothing."""
    return [
        *config.warnings,
        *(printable(line) for line in _in_main(config)),
        *map(printable, _in_master(config)),
    ]


def is_postfix_name(config: Config, name: str) -> bool:
    """Whether Postfix would know the name with this master.cf."""
    return name in POSTFIX_NAMES or any(
        name.endswith(suffix) and name.removesuffix(suffix) in config.transports
        for suffix in _SERVICE_SUFFIXES
    )


def user_names(config: Config, overrides: Iterable[str] = ()) -> set[str]:
    """Names that have a meaning because some value refers to them, or to a table whose parameters they are."""
    values = [value for name, value in config.main.items() if _is_known(config, name)]
    values += [parameter.default for parameter in PARAMETERS.values()]
    values += [argument for entry in config.entries for argument in entry.args if "$" in argument]
    values += overrides
    used = set(split_quoted(config.main.get("smtpd_restriction_classes", "")))
    values += [config.main.get(name, "") for name in used]
    while values:
        value = values.pop()
        for name in [*(name for name, _ in _references(value)), *table_parameters(value)]:
            if name not in used:
                used.add(name)
                values.append(config.main.get(name, ""))
    return used


def _is_known(config: Config, name: str) -> bool:
    return config.declaration(name) is not None or is_postfix_name(config, name)


def _references(value: str) -> list[tuple[str, bool]]:
    try:
        return list(references(parse(value)))
    except ExpandError:
        return []  # arguments of pipe(8) have their own language; `load` reports the parameters


def _in_main(config: Config) -> Iterator[str]:
    used = user_names(config)
    file = config.directory / "main.cf"
    for name, setting in config.settings.items():
        yield from _unused(config, f"{file}, line {setting.line}", name, used)
        if _is_known(config, name) or name in used:
            yield from _undefined(config, f"{file}, line {setting.line}", name, setting.value)


def _in_master(config: Config) -> Iterator[str]:
    for entry in config.entries:
        where = f"{entry.file}, line {entry.line}"
        overrides = dict(option.partition("=")[::2] for option in entry.options)
        used = user_names(config, overrides.values())
        for name, value in overrides.items():
            yield from _unused(config, where, name, used)
            yield from _undefined(config, where, name, value, overrides)


def _unused(config: Config, where: str, name: str, used: set[str]) -> Iterator[str]:
    if name in used or config.declaration(name):
        return
    if is_postfix_name(config, name):
        yield f"{where}: {name}: Postfix has this parameter, fastrelay does not use it yet"
        return
    nearest = difflib.get_close_matches(name, sorted(POSTFIX_NAMES | PARAMETERS.keys()), n=1)
    hint = f"; the nearest name is {nearest[0]}" if nearest else ""
    yield f"{where}: unknown parameter: {name}{hint}"


def _undefined(
    config: Config, where: str, name: str, value: str, overrides: Iterable[str] = ()
) -> Iterator[str]:
    """References to nothing, but for those that only test whether a name is set."""
    for found, conditional in dict.fromkeys(_references(value)):
        known = found in config.main or found in overrides or _is_known(config, found)
        if not known and not conditional:
            yield f"{where}: {name}: undefined parameter: {found}"
