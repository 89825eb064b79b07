"""The mail log as master opens it: before rights are given up, and again at each reload.

Workers inherit the open log, and get a fresh file over their channel: only master must be able to open it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastrelay.config import section
from fastrelay.log import LogError, LogSettings, MailLog
from fastrelay.log.sinks import FileSink
from fastrelay.master.errors import FatalError

if TYPE_CHECKING:
    from fastrelay.config import Config


def open_log(config: Config) -> MailLog:
    try:
        return MailLog(section(LogSettings, config))
    except LogError as error:
        raise FatalError(str(error)) from None


def open_log_file(config: Config) -> int | None:
    """The maillog file opened once more, None when the log is the system's."""
    settings = section(LogSettings, config)
    if not settings.maillog_file:
        return None
    try:
        return FileSink(settings.maillog_file, settings.maillog_file_prefixes).fd
    except LogError as error:
        raise FatalError(str(error)) from None
