"""The verb table of the receiving side: what `_core` knows of each command before it looks at arguments.

_smtp.pyx copies it into C at import; the names serve the disconnect line of the log. RFC 5321 4.1, and
RFC 2920 3.1 for the commands that must end a pipelined group.
"""

import enum
from typing import NamedTuple


class Verb(enum.IntEnum):
    """Numbers of the verbs; UNKNOWN stands for every other word."""

    UNKNOWN = 0
    HELO = 1
    EHLO = 2
    MAIL = 3
    RCPT = 4
    DATA = 5
    BDAT = 6
    RSET = 7
    NOOP = 8
    VRFY = 9
    ETRN = 10
    QUIT = 11
    HELP = 12
    STARTTLS = 13
    AUTH = 14
    XCLIENT = 15
    XFORWARD = 16
    EXPN = 17


class Command(NamedTuple):
    """One row: `last` must end a pipelined group, `junk` counts against smtpd_junk_command_limit."""

    verb: Verb
    last: bool = False
    junk: bool = False


COMMANDS = (
    Command(Verb.HELO, last=True, junk=True),
    Command(Verb.EHLO, last=True, junk=True),
    Command(Verb.STARTTLS, last=True),
    Command(Verb.AUTH, last=True),
    Command(Verb.MAIL),
    Command(Verb.RCPT),
    Command(Verb.DATA, last=True),
    Command(Verb.BDAT),
    Command(Verb.RSET, junk=True),
    Command(Verb.NOOP, last=True, junk=True),
    Command(Verb.VRFY, last=True, junk=True),
    Command(Verb.ETRN, junk=True),
    Command(Verb.QUIT),
    Command(Verb.HELP),
    Command(Verb.XCLIENT),
    Command(Verb.XFORWARD),
    Command(Verb.EXPN),
)

LOG_ORDER = (
    # the order in which Postfix's disconnect line names the counts
    Verb.HELO, Verb.EHLO, Verb.STARTTLS, Verb.AUTH, Verb.MAIL, Verb.RCPT, Verb.DATA, Verb.BDAT,
    Verb.RSET, Verb.NOOP, Verb.VRFY, Verb.ETRN, Verb.XCLIENT, Verb.XFORWARD, Verb.QUIT, Verb.UNKNOWN,
)  # fmt: skip
