"""main.cf: `name = value` lines into settings (postconf(5)); the last setting of a name counts."""

from __future__ import annotations

from dataclasses import dataclass

from fastrelay.config.errors import ConfigError, printable
from fastrelay.config.logical_lines import logical_lines, split_setting


@dataclass(frozen=True, slots=True)
class Setting:
    """A raw value and the line that it stands on."""

    value: str
    line: int


def parse_main(file: str, text: str) -> tuple[dict[str, Setting], list[str]]:
    """The settings of a main.cf, and a warning for each that a later line overrides."""
    settings, warnings = dict[str, Setting](), list[str]()
    for line, logical in logical_lines(file, text):
        setting = split_setting(logical)
        if isinstance(setting, str):
            raise ConfigError(file, line, logical, None, setting)
        name, value = setting
        if name in settings:
            warnings.append(
                printable(f"{file}, line {line}: overriding earlier entry: {name}={settings[name].value}")
            )
        settings[name] = Setting(value, line)
    return settings, warnings
