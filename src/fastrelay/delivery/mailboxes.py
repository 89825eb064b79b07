"""Deliver to a mailbox with its owner's rights: what is asked for, where it goes, and who may.

local and virtual ask a `Mailboxes`: DirectMailboxes writes as this process's user (not started as root),
mailbox_helper.MailboxClient asks the privileged helper. `locate` is the one place that turns a request into
(user, directory), and the helper runs it itself: a worker names a user or a path below the base, no more.
"""

from __future__ import annotations

import asyncio
import enum
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastrelay.borders import Outcome, Status
from fastrelay.delivery.mailbox_settings import MailboxSettings
from fastrelay.delivery.maildir import MailboxProblem, write_message

Warn = Callable[[bytes], None]
CONFIGURATION_ERROR = b"mail system configuration error"


class Kind(enum.IntEnum):
    LOCAL = 1  # name: a system user; home_mailbox says where
    VIRTUAL = 2  # name: a path below virtual_mailbox_base


@dataclass(frozen=True, slots=True)
class Request:
    kind: Kind
    name: bytes
    uid: int = 0  # VIRTUAL only
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A Maildir and whose it is; `groups_of` is the account whose groups apply, "" for the gid alone."""

    directory: bytes
    uid: int
    gid: int
    size_limit: int
    groups_of: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    dsn: bytes
    text: bytes
    warnings: tuple[bytes, ...] = ()
    action: bytes = b"delivered"  # RFC 3464 2.3.3, for what is sent


class Mailboxes(Protocol):
    async def deliver(self, request: Request, data: bytes) -> Result: ...


DELIVERED = Result(b"2.0.0", b"delivered to maildir")


def locate(request: Request, settings: MailboxSettings) -> Mailbox:
    """Where a request goes. Raises MailboxProblem: unknown user, or something that is not allowed."""
    if request.kind is Kind.LOCAL:
        return _locate_user(request.name, settings)
    return _locate_virtual(request, settings)


def _locate_user(name: bytes, settings: MailboxSettings) -> Mailbox:
    try:
        account = pwd.getpwnam(name.decode())
    except (KeyError, ValueError):
        raise unknown_user(name) from None
    if not settings.home_mailbox.endswith("/"):
        raise not_maildir(b"home_mailbox", settings.home_mailbox.encode())
    if not account.pw_dir.startswith("/"):
        warning = b'home directory of user "' + name + b'" is no absolute path'
        raise MailboxProblem(b"4.3.5", CONFIGURATION_ERROR, (warning,))
    directory = os.path.join(os.fsencode(account.pw_dir), settings.home_mailbox.encode())
    limit = settings.mailbox_size_limit
    return Mailbox(directory, account.pw_uid, account.pw_gid, limit, account.pw_name)


def _locate_virtual(request: Request, settings: MailboxSettings) -> Mailbox:
    base = settings.virtual_mailbox_base.encode()
    if not base.startswith(b"/") or not stays_below(request.name):
        warning = b"mailbox path not below virtual_mailbox_base: " + request.name
        raise MailboxProblem(b"4.3.5", CONFIGURATION_ERROR, (warning,))
    if request.uid < max(settings.virtual_minimum_uid, 1) or request.gid < 1:
        warning = b"bad uid or gid for virtual mailbox: %d/%d" % (request.uid, request.gid)
        raise MailboxProblem(b"4.3.5", CONFIGURATION_ERROR, (warning,))
    if not request.name.endswith(b"/"):
        raise not_maildir(b"virtual_mailbox_maps", request.name)
    directory = base.rstrip(b"/") + b"/" + request.name
    return Mailbox(directory, request.uid, request.gid, settings.virtual_mailbox_limit)


def stays_below(path: bytes) -> bool:
    """No `..`, no NUL, and more than the base itself."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    return bool(parts) and b".." not in parts and b"\0" not in path


def unknown_user(name: bytes) -> MailboxProblem:
    return MailboxProblem(b"5.1.1", b'unknown user: "' + name + b'"')


def not_maildir(parameter: bytes, value: bytes) -> MailboxProblem:
    warning = parameter + b' names no Maildir (it must end in "/"): "' + value + b'"'
    return MailboxProblem(b"4.3.5", CONFIGURATION_ERROR, (warning,))


def deliver_as_owner(mailbox: Mailbox, data: bytes, settings: MailboxSettings) -> Result:
    """Write with the rights that this process has by now."""
    try:
        write_message(mailbox.directory, data, settings.myhostname, mailbox.size_limit)
    except MailboxProblem as problem:
        return Result(problem.dsn, problem.text, problem.warnings)
    return DELIVERED


def make_outcome(recipient: int, result: Result, relay: bytes, seconds: float) -> Outcome:
    """The status code's class says what became of it."""
    status = {b"2": Status.SENT, b"4": Status.DEFERRED, b"5": Status.BOUNCED}[result.dsn[:1]]
    action = result.action if status is Status.SENT else b""
    return Outcome(recipient, status, result.dsn, result.text, relay, 0.0, seconds, action=action)


class DirectMailboxes:
    """Without a helper: only mailboxes of the user that this process runs as."""

    def __init__(self, settings: MailboxSettings) -> None:
        self._settings = settings

    async def deliver(self, request: Request, data: bytes) -> Result:
        return await asyncio.get_running_loop().run_in_executor(None, self._deliver, request, data)

    def _deliver(self, request: Request, data: bytes) -> Result:
        try:
            mailbox = locate(request, self._settings)
        except MailboxProblem as problem:
            return Result(problem.dsn, problem.text, problem.warnings)
        if mailbox.uid != os.geteuid():
            reason = b"user %d cannot deliver to mailboxes of user %d" % (os.geteuid(), mailbox.uid)
            return Result(b"4.3.0", b"mail system is not running as root: " + reason)
        return deliver_as_owner(mailbox, data, self._settings)
