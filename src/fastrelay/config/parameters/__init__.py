"""The one list of declarations: every parameter that fastrelay reads, composed from one file an area.

Defaults are Postfix 3.7's, but for those that docs/differences.md names. A parameter stands here when,
and only when, some room reads it: what Postfix has besides is warned of by `usage`.
"""

from fastrelay.config.declaration import Parameter
from fastrelay.config.parameters import (
    address,
    bounce,
    cleanup,
    local,
    own,
    qmgr,
    rewriting,
    smtp,
    smtpd,
    system,
    tables,
)

AREAS: tuple[tuple[str, tuple[Parameter, ...]], ...] = (
    ("Identity, files and processes", system.PARAMETERS),
    ("Addresses and routing", address.PARAMETERS),
    ("Rewriting", rewriting.PARAMETERS),
    ("SMTP server", smtpd.PARAMETERS),
    ("Message contents", cleanup.PARAMETERS),
    ("Queue manager", qmgr.PARAMETERS),
    ("SMTP client", smtp.PARAMETERS),
    ("Local and virtual delivery", local.PARAMETERS),
    ("Bounces and notices", bounce.PARAMETERS),
    ("Lookup tables", tables.PARAMETERS),
    ("fastrelay's own", own.PARAMETERS),
)

PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter for _, parameters in AREAS for parameter in parameters
}

TRANSPORT_SUFFIXES = qmgr.TRANSPORT_SUFFIXES
