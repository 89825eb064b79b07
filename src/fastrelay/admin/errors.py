"""What the commands tell on standard error, and the exceptions that are told there in one line."""

from __future__ import annotations

import sys

from fastrelay.config.errors import ConfigError
from fastrelay.master.control import ControlError
from fastrelay.master.errors import FatalError

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h, as Postfix's postqueue
CONFIG_ERRORS = (ConfigError, FatalError, ControlError)


def say(name: str, text: str) -> None:
    """One line `name: text`, whatever is in the text."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    sys.stderr.buffer.write(f"{name}: {clean}\n".encode(errors="surrogateescape"))
    sys.stderr.flush()
