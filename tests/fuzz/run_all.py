"""libFuzzer on each target for a while, some targets at a time: `make fuzz` and CI.

A line for each that ends well; of one that does not, what it printed and the input, and at the end exit status 1.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build" / "fuzz"
RUN = [sys.executable, str(Path(__file__).with_name("run.py"))]
LATE = 900  # seconds after its time at which a target is said to hang
TRIED = re.compile(r"^stat::number_of_executed_units:\s*([1-9]\d*)$", re.M)
ENDINGS = ("crash", "timeout", "oom", "leak")


def inputs(target: str) -> list[Path]:
    """What a target has failed on; an exception's is in a file of ours."""
    found = [path for ending in ENDINGS for path in BUILD.glob(f"{target}-{ending}-*")]
    return found + [path for path in [BUILD / f"failed-{target}"] if path.exists()]


def reproducer(path: Path) -> str:
    content = path.read_bytes()
    line = content.decode("latin-1").encode("unicode_escape").decode() if len(content) < 20_000 else "(long)"
    return f"{path} ({len(content)} bytes; tests/fuzz/run.py TARGET FILE tries it again):\n{line}\n"


def fuzz(target: str, seconds: int, seed: int, scratch: str) -> bool:
    for path in inputs(target):
        path.unlink()
    command = [
        *RUN,
        target,
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    log = BUILD / f"log-{target}"
    with log.open("wb") as output:
        status = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            env=os.environ | {"TMPDIR": scratch, "PYTHONHASHSEED": str(seed)},
            timeout=seconds + LATE,
        ).returncode
    said = log.read_text(errors="replace")
    tried = TRIED.search(said)
    if status == 0 and tried is not None:
        print(f"fuzz: {target}: {tried[1]} inputs in {seconds} s", flush=True)
        return True
    found = "".join(map(reproducer, inputs(target)))
    print(f"fuzz: {target}: FAILED, exit status {status}, seed {seed}\n{said[-20_000:]}\n{found}", flush=True)
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parallel", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the same inputs again; 0: others each time")
    parser.add_argument("targets", nargs="+")
    arguments = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    seed = arguments.seed or secrets.randbelow(2**31) + 1
    with tempfile.TemporaryDirectory(dir=memory) as scratch, ThreadPoolExecutor(arguments.parallel) as pool:
        one = partial(fuzz, seconds=arguments.seconds, seed=seed, scratch=scratch)
        ended = list(pool.map(one, arguments.targets))
    if not all(ended):
        sys.exit(f"fuzz: {ended.count(False)} of {len(ended)} targets failed")


if __name__ == "__main__":
    main()
