"""Nothing acknowledged is lost by a power cut, and a disk that lies is found out; power_cuts.py does the work."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "power_cuts.py"
HOW = "run as root on a machine that has loop devices: unshare --mount python tests/crash/power_cuts.py --cuts 20"


@functools.cache
def why_not() -> str:
    """Why no image can be mounted here; empty: it can."""
    if os.geteuid():
        return "not root"
    probe = (
        "set -e; d=$(mktemp -d); trap 'umount $d/m 2>/dev/null; rm -rf $d' EXIT; truncate -s 4M $d/i;"
        " mkfs.ext4 -q -F $d/i; mkdir $d/m; mount -o loop $d/i $d/m"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def cut(*options: str) -> dict[str, Any]:
    if why_not():
        pytest.skip(f"loop mounts are not allowed here ({why_not()}); {HOW}")
    command = ["unshare", "--mount", sys.executable, str(PROGRAM), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print({**report, "lost": len(report["lost"])})
    return report


def check(report: dict[str, Any], cuts: int) -> None:
    assert report["cuts"] == cuts
    assert report["answered"] >= 5 * cuts and report["recovered"]  # it was under load
    assert report["lost"] == [], report["seed"]
    assert report["problems"] == [], report["seed"]  # what a cut leaves is not damage


def test_nothing_is_lost_in_twenty_power_cuts() -> None:
    check(cut("--cuts", "20"), 20)


def test_a_disk_that_lies_is_seen_to_lose_mail() -> None:
    """The control: with an fdatasync that does nothing the same cuts lose acknowledged messages."""
    assert cut("--cuts", "5", "--lying")["lost"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_lost_in_a_thousand_power_cuts(seed: int) -> None:
    check(cut("--cuts", "100", "--seed", str(seed)), 100)
