"""fastrelay newaliases (sendmail -I): compile the alias_database tables, or the one of -oA, through postalias.

It is a face of sendmail(1): it takes that program's flags, most of them mean nothing here, and its own mistakes
end with EX_TEMPFAIL; what postalias says, it says with postalias's name and status.
"""

from __future__ import annotations

import getopt
from pathlib import Path

from fastrelay import config
from fastrelay.admin.compile_table import Fatal
from fastrelay.admin.errors import say
from fastrelay.admin.postalias import POSTALIAS
from fastrelay.admin.postmap import read_configuration, run
from fastrelay.tables.text import split_list

FLAGS = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:tvx"  # sendmail's
EX_TEMPFAIL = 75


def main(config_dir: Path, args: list[str]) -> int:
    try:
        config_dir, databases, verbose = _parse(config_dir, args)
        if databases is None:
            databases = split_list(read_configuration(config_dir).text("alias_database"))
    except (Fatal, config.ConfigError) as error:
        say("newaliases", f"fatal: {error}")
        return EX_TEMPFAIL
    return run(POSTALIAS, config_dir, [*verbose, *databases]) if databases else 0


def _parse(config_dir: Path, args: list[str]) -> tuple[Path, list[str] | None, list[str]]:
    """The configuration, the database of -oA, and -v for postalias."""
    databases: list[str] | None = None
    verbose: list[str] = []
    try:
        flags, recipients = getopt.getopt(args, FLAGS)
    except getopt.GetoptError as error:
        what = "option requires an argument" if "requires" in error.msg else "invalid option"
        say("newaliases", f"{what} -- '{error.opt}'")
        raise Fatal("usage: newaliases [options]") from error
    for flag, value in flags:
        if flag == "-C":
            path = Path(value).absolute()
            config_dir = path if path.is_dir() else path.parent
        elif flag == "-o" and value.startswith("A"):
            if len(value) < 2:
                raise Fatal("-oA requires pathname")
            databases = [value[1:]]
        elif flag == "-v":
            verbose = ["-v"]
    if recipients:
        raise Fatal("alias initialization mode requires no recipient")
    return config_dir, databases, verbose
