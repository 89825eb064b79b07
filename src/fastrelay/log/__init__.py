"""The mail log: Postfix's lines, written in batches."""

from fastrelay.log.maillog import LogError, MailLog
from fastrelay.log.settings import LogSettings

__all__ = ["LogError", "LogSettings", "MailLog"]
