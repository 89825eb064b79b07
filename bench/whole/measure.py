"""CPU time and memory of a whole process tree: what it costs to relay, wherever in the tree it is spent.

CPU comes from a cgroup of the relay's own where one can be made (v1 cpuacct, else v2 cpu.stat: exact, with
what ended processes used), otherwise from /proc by walking down from master's pid (in clock ticks).
Memory is the sum of the processes' PSS: a page that two of them share counts once.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TICKS = os.sysconf("SC_CLK_TCK")
ENTER = 'echo $$ >"$1"/cgroup.procs && shift && exec "$@"'


class Meter:
    def __init__(self, pid_file: Path) -> None:
        self.pid_file = pid_file
        self.group: Path | None = None
        self.kind = "/proc"

    def open(self) -> None:
        for kind, base in (("cgroup v1 cpuacct", CGROUPS / "cpuacct"), ("cgroup v2", CGROUPS)):
            counter = "cpuacct.usage" if kind.startswith("cgroup v1") else "cpu.stat"
            if not (base / counter).exists():
                continue
            group = base / f"fastrelay-bench-{os.getpid()}-{time.monotonic_ns()}"
            with contextlib.suppress(OSError):  # not ours to make: the next kind
                group.mkdir()
                self.group, self.kind = group, kind
                if subprocess.run(self.inside(["true"]), capture_output=True).returncode == 0:
                    return
                self.close()  # it may be made, but not entered
        self.kind = "/proc"

    def close(self) -> None:
        """After its last process has ended."""
        if self.group is not None:
            with contextlib.suppress(
                OSError
            ):  # a process that cannot be killed keeps it; it is empty of cost
                self.group.rmdir()
            self.group = None

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command line that runs it in the cgroup."""
        return list(command) if self.group is None else ["sh", "-c", ENTER, "sh", str(self.group), *command]

    def pids(self) -> list[int]:
        if self.group is not None:
            return [int(word) for word in (self.group / "cgroup.procs").read_text().split()]
        with contextlib.suppress(OSError, ValueError):
            found = descendants(int(self.pid_file.read_text()), children)
            return [pid for pid in found if os.path.exists(f"/proc/{pid}")]
        return []

    def cpu(self) -> float:
        """Seconds, so far."""
        if self.group is None:
            return sum(map(cpu_of, self.pids()))
        if self.kind == "cgroup v1 cpuacct":
            return int((self.group / "cpuacct.usage").read_text()) / 1e9
        return cpu_stat((self.group / "cpu.stat").read_text())

    def memory(self) -> float:
        """MiB, now."""
        return sum(map(pss, self.pids())) / 1024


def machine_busy(stat: str, ticks: int = TICKS) -> float:
    """CPU seconds of all cores that were not idle, from /proc/stat; stolen ones are busy."""
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, stat.split(None, 9)[1:9])
    return (user + nice + system + interrupts + soft + stolen) / ticks


def descendants(root: int, children_of: Callable[[int], Sequence[int]]) -> list[int]:
    """A process and all below it."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(children_of(pid))
    return found


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):  # it ended meanwhile
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def cpu_stat(text: str) -> float:
    """Seconds, from a v2 cgroup's cpu.stat."""
    found = re.search(r"^usage_usec (\d+)$", text, re.M)
    assert found, text
    return int(found[1]) / 1e6


def stat_seconds(text: str, ticks: int = TICKS) -> float:
    """utime, stime and those of ended children, from /proc/PID/stat; the name in it may hold blanks."""
    fields = text.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / ticks


def cpu_of(pid: int) -> float:
    with contextlib.suppress(OSError):  # it ended: its parent has its time
        return stat_seconds(Path(f"/proc/{pid}/stat").read_text())
    return 0.0


def pss(pid: int) -> int:
    """KiB."""
    with contextlib.suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        return int(found[1]) if found else 0
    return 0
