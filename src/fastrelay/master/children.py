"""The supervisor's book on its workers: who lives, who answers, who died and when to try again.

Pure but for the objects it keeps: the clock is passed in. The rule: a worker that dies now and then is
replaced at once; from the third death in ten minutes on it waits 1, 2, 4, ... 60 seconds.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field

MEMORY = 600.0  # deaths older than this are forgiven
FREE_DEATHS = 2
LONGEST_WAIT = 60.0


@dataclass(slots=True)
class Child:
    """One worker's place. `pid` 0: nobody lives there now."""

    number: int
    pid: int = 0
    channel: socket.socket | None = None
    outgoing: bytearray = field(default_factory=bytearray)
    helper: int = 0  # process id of its mailbox helper
    ready: bool = False
    deaths: list[float] = field(default_factory=list)
    restart_at: float = 0.0

    def died(self, now: float) -> None:
        self.deaths = [when for when in self.deaths if now - when < MEMORY] + [now]
        self.pid = 0
        self.ready = False
        self.outgoing.clear()
        self.restart_at = now + wait_before_restart(len(self.deaths))

    def signal(self, number: signal.Signals) -> None:
        """SIGTERM lets the helper end with its worker; SIGKILL is for both."""
        if self.pid:
            os.kill(self.pid, number)
        if self.helper and number is signal.SIGKILL:
            os.kill(self.helper, number)


def wait_before_restart(deaths: int) -> float:
    return 0.0 if deaths <= FREE_DEATHS else min(2.0 ** (deaths - FREE_DEATHS - 1), LONGEST_WAIT)


def describe_end(status: int) -> str:
    """How a process ended, in the words of Postfix's master."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit status {os.WEXITSTATUS(status)}"
