"""`fastrelay check`: everything that would stop or trouble a start, without starting.

Warnings are printed and leave the status 0; what would make `start` refuse is one fatal line and status 1.
Missing queue directories are made, as `postfix check` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fastrelay.admin.errors import say
from fastrelay.master import directories, listeners
from fastrelay.master.errors import FatalError
from fastrelay.master.privileges import Owner, drop, find_owner
from fastrelay.master.settings import MasterSettings
from fastrelay.master.socket_set import wanted

if TYPE_CHECKING:
    from fastrelay.config import Config

TABLE_SUFFIXES = ("_maps", "_map", "_database", "_checks")
OTHERS = ("mynetworks", "mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains")


def main(config_dir: Path, args: list[str]) -> int:
    from fastrelay.config import section
    from fastrelay.master import configuration, mail_log

    if args:
        raise FatalError("usage: fastrelay check (no arguments)")
    config = configuration.load(config_dir)
    settings = section(MasterSettings, config)
    for text in configuration.warnings(config):
        say("fastrelay", f"warning: {text}")
    owner = find_owner(settings.mail_owner, f"{config.directory}/main.cf")
    directories.prepare(Path(settings.queue_directory), Path(settings.data_directory), owner)
    mail_log.open_log(config).close()
    for text in disk_problems(Path(settings.queue_directory), settings.fastrelay_disk_check):
        say("fastrelay", f"warning: {text}")
    if not wanted(config, settings):
        say(
            "fastrelay",
            f"warning: {config.directory}/master.cf: no inet service runs smtpd: no mail is received",
        )
    listeners.families(settings.inet_protocols)
    known = list(table_problems(config))
    for text in known:
        say("fastrelay", f"warning: {text}")
    _look_as(owner, config, known)
    return 0


def _look_as(owner: Owner, config: Config, known: list[str]) -> None:
    """What the workers cannot open, with the rights that they have; root can open everything."""
    if not owner.name:
        return
    pid = os.fork()
    if pid == 0:
        try:
            drop(owner)
            for text in table_problems(config):
                if text not in known:
                    say("fastrelay", f"warning: as user {owner.name}: {text}")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def disk_problems(queue_directory: Path, how: str) -> list[str]:
    """As at start; FatalError where `start` would refuse."""
    directory = os.open(queue_directory / "fastrelay", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return directories.check_disk(directory, how)[1]
    finally:
        os.close(directory)


def table_problems(config: Config) -> Iterator[str]:
    """Of tables named in main.cf: why they cannot be opened (a look-up is answered 451), their sources' mistakes."""
    from fastrelay.config.logical_lines import split_quoted
    from fastrelay.master.table_surroundings import table_surroundings
    from fastrelay.tables import open_table

    around = table_surroundings(config, lambda text: None)
    for name in sorted(config.main):
        if not (name.endswith(TABLE_SUFFIXES) or name in OTHERS):
            continue
        for spec in split_quoted(config.text(name)):
            kind = spec.lstrip("!").partition(":")[0]
            if ":" not in spec or not kind.isalnum():
                continue
            utf8 = not name.endswith("_checks")  # as cleanup opens them
            table = open_table(spec.lstrip("!"), fold=utf8, utf8=utf8, around=around)
            yield from (f"{name}: {text}" for text in table.warnings)
            if table.problem:
                yield f"{name}: {table.problem}"
    yield from list_problems(config)


def list_problems(config: Config) -> Iterator[str]:
    """Patterns and files of the lists that nobody can be compared with; that is answered 451 too."""
    from fastrelay.tables import AddressMatcher, DomainMatcher, Table

    for name in OTHERS:
        if name == "mynetworks":
            problems = AddressMatcher(config.text(name), Table).problems
        else:
            problems = DomainMatcher(config.text(name), False, Table).problems
        yield from (f"{name}: {problem}" for problem in problems)
