"""What a process takes of the machine's memory."""

import re
from pathlib import Path


def memory_of(*pids: int) -> int:
    """Bytes, a page that two processes share counted once (PSS).

    Without the pages of programs and libraries: what counts of these for one depends on who else runs.
    """
    total = 0
    for pid in pids:
        found = dict(
            re.findall(r"^(Pss\w*):\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        )
        total += int(found["Pss"]) - int(found["Pss_File"]) << 10
    return total
