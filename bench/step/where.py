"""Where a message's microseconds go: `perf record` of one worker under load, by function, the kernel's too.

`python -m bench.step.where [--case NAME] [--seconds N]`; wants root and Debian's `linux-perf`. Python functions have
their names with PYTHONPERFSUPPORT (Python 3.12 and later); before that they are the interpreter's.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from bench.whole.cases import CASES
from bench.whole.ends import Sink, source
from bench.whole.relays import Directory, Relay

HEAVIEST = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.step.where", description=__doc__)
    parser.add_argument("--case", choices=list(CASES), default="reuse", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("perf") is None or shutil.which("smtp-source") is None:
        print(
            "bench.step.where: not run: wants Debian's packages `linux-perf` and `postfix`", file=sys.stderr
        )
        return 0
    case = CASES[options.case]
    with (
        Sink(case) as sink,
        Directory(case, sink.port, sink.slow_port, 100_000) as directory,
        Relay("fastrelay", directory, 1) as relay,
    ):
        print(profile(relay, source(case, relay.port, 100_000), options.seconds))
    return 0


def profile(relay: Relay, load: list[str], seconds: int) -> str:
    data = relay.directory.path / "perf.data"
    worker = max(relay.meter.pids(), key=threads)
    sending = subprocess.Popen(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        record = ["perf", "record", "-q", "-F", "2000", "-o", str(data), "-p", str(worker)]
        subprocess.run([*record, "--", "sleep", str(seconds)], check=True)
        said = subprocess.run(
            ["perf", "report", "-q", "--stdio", "-i", str(data), "--sort", "dso,symbol", "-g", "none"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    finally:
        sending.terminate()
        sending.wait(10)
    return "\n".join([line.rstrip(" -") for line in said.splitlines() if line.strip()][:HEAVIEST])


def threads(pid: int) -> int:
    """The worker has more than master."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
