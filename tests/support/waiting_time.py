"""How long a process has waited for a processor that others used: what a busy machine adds to any time."""

from pathlib import Path


def waited_for_processor(pid: int) -> float:
    """Seconds, of its main thread, since it began."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
