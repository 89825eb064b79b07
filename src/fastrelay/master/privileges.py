"""Who the workers run as, and how a process gives up its rights for good.

Called by the supervisor: `find_owner` before anything is opened, `drop` in each worker after the fork.
All ids go at once (setresgid, setresuid): a split of real and effective ids is what breaks the next start.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import signal
from dataclasses import dataclass

from fastrelay.master.errors import FatalError

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
OPEN_FILES = 65536  # of a worker, where root may ask for them: 20,000 sessions on each of some services, and deliveries


@dataclass(frozen=True, slots=True)
class Owner:
    """A user; `name` is empty when there is nothing to change to."""

    name: str
    uid: int
    gid: int


def find_owner(mail_owner: str, file: str) -> Owner:
    """The account of the workers: mail_owner when started by root, else whoever started it."""
    if os.geteuid() != 0:
        return Owner("", os.geteuid(), os.getegid())
    try:
        account = pwd.getpwnam(mail_owner)
    except KeyError:
        raise FatalError(
            f"file {file}: parameter mail_owner: unknown user name value: {mail_owner}"
        ) from None
    if account.pw_uid == 0:
        raise FatalError(f"file {file}: parameter mail_owner: user {mail_owner} has privileged user ID")
    if account.pw_gid == 0:
        raise FatalError(f"file {file}: parameter mail_owner: user {mail_owner} has privileged group ID")
    return Owner(mail_owner, account.pw_uid, account.pw_gid)


def drop(owner: Owner) -> None:
    """Become `owner`, with its own groups only, and prove that there is no way back."""
    if not owner.name:
        return
    os.initgroups(owner.name, owner.gid)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    os.environ["HOME"] = pwd.getpwuid(owner.uid).pw_dir  # libraries look there for files of their own
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise FatalError(f"cannot give up root privileges for user {owner.name}")


def forbid_new_privileges() -> None:
    """No set-uid program can give back what was dropped."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """For a companion process that nobody would miss or stop once its parent has been killed."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise FatalError(f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def let_others_finish() -> None:
    """SCHED_BATCH (sched(7)): what wakes this process does not take the core from whoever runs on it.

    Under load a worker then finds more to do in each round and syncs more messages at once; on an idle core
    nothing changes. A policy that the administrator chose stays.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(PermissionError):  # a container forbids it: mail flows without, at more cost
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def set_limits() -> None:
    """Mail never lands in a core file, and a busy worker may have as many sockets as the system allows."""
    os.umask(0o077)
    _, hard_core = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if os.geteuid() == 0 else hard_core))
    _, hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if os.geteuid() == 0 and hard_files < OPEN_FILES:
        with contextlib.suppress(ValueError, OSError):  # fs.nr_open is lower, or a container forbids it
            resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
            return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_files, hard_files))
