"""The supervisor's book on its workers: who lives, who answers, who died and when to try again.

Pure but for the objects it keeps: the clock is passed in. The rule: a worker that dies now and then is
replaced at once; from the third death in ten minutes on it waits 1, 2, 4, ... 60 seconds.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field

from fastrelay.master.channel import send

MEMORY = 600.0  # deaths older than this are forgiven
FREE_DEATHS = 2
LONGEST_WAIT = 60.0


@dataclass(slots=True)
class Frame:
    """What is still to be sent of a message, and the file that goes with its first byte."""

    data: bytes
    fd: int | None


@dataclass(slots=True)
class Child:
    """One worker's place. `pid` 0: nobody lives there now."""

    number: int
    pid: int = 0
    channel: socket.socket | None = None
    outgoing: list[Frame] = field(default_factory=list)
    helper: int = 0  # process id of its mailbox helper
    ready: bool = False
    deaths: list[float] = field(default_factory=list)
    restart_at: float = 0.0

    def died(self, now: float) -> None:
        self.deaths = [when for when in self.deaths if now - when < MEMORY] + [now]
        self.pid = 0
        self.ready = False
        self.drop_outgoing()
        self.restart_at = now + wait_before_restart(len(self.deaths))

    def drop_outgoing(self) -> None:
        for frame in self.outgoing:
            if frame.fd is not None:
                os.close(frame.fd)
        self.outgoing.clear()

    def flush(self) -> None:
        """Send what the channel takes; a worker that is dying is noticed elsewhere."""
        while self.outgoing and self.channel is not None:
            frame = self.outgoing[0]
            try:
                sent = send(self.channel, frame.data, frame.fd)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                return
            if frame.fd is not None:
                os.close(frame.fd)
                frame.fd = None
            frame.data = frame.data[sent:]
            if not frame.data:
                self.outgoing.pop(0)

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
