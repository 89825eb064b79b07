"""fastrelay postalias: compile and query aliases(5) databases, as postalias(1) does."""

from __future__ import annotations

import time
from pathlib import Path

from fastrelay import config
from fastrelay.admin.postmap import Program, run
from fastrelay.tables.aliases import read_aliases
from fastrelay.tables.build import Form


def _signatures(form: Form, configuration: config.Config) -> list[tuple[bytes, bytes]]:
    """Sendmail's "database is complete", and NIS's time and master (without a NUL, as with Postfix)."""
    return [
        (b"@" + form.end, b"@" + form.end),
        (b"YP_LAST_MODIFIED", b"%010d" % int(time.time())),
        (b"YP_MASTER_NAME", configuration.text("myhostname").encode()),
    ]


POSTALIAS = Program(
    "postalias",
    "c:d:finNopq:rsuvw",
    "[-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...",
    read_aliases,
    b":\t",
    _signatures,
)


def main(config_dir: Path, args: list[str]) -> int:
    return run(POSTALIAS, config_dir, args)
