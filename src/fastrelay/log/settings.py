"""What the mail log reads from main.cf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Postfix's parameters by their own names."""

    maillog_file: str
    maillog_file_prefixes: tuple[str, ...]
    myhostname: str
    syslog_facility: str
    syslog_name: str
