"""CPU and memory of a process tree: what is read from /proc and cgroups, and processes that burn time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.whole.measure import Meter, cpu_stat, descendants, machine_busy, pss, stat_seconds

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_bench_measure_reads_a_stat_line_with_a_name_of_blanks():
    line = "12 (a ) b) S 1 12 12 0 -1 4194560 900 0 0 0 150 50 25 75 20 0 1 0 100 1000 10"
    assert stat_seconds(line, ticks=100) == 3.0


def test_bench_measure_reads_cpu_stat_of_a_v2_group():
    assert cpu_stat("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n") == 1.5


def test_bench_measure_reads_what_the_machine_is_busy_with():
    stat = "cpu  100 20 30 9999 8888 40 50 60 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    assert machine_busy(stat, ticks=100) == 3.0


def test_bench_measure_walks_a_tree_once():
    tree = {1: [2, 3], 2: [4], 3: [], 4: []}
    assert sorted(descendants(1, tree.__getitem__)) == [1, 2, 3, 4]


def test_bench_measure_sees_memory_of_a_process_and_none_of_a_dead_one():
    assert pss(os.getpid()) > 1000
    assert pss(2**22 + 1) == 0


@pytest.mark.parametrize("group", [True, False], ids=["cgroup", "proc"])
def test_bench_measure_counts_the_cpu_of_children(tmp_path: Path, group: bool):
    meter = Meter(tmp_path / "pid")
    if group:
        meter.open()
        if meter.group is None:
            pytest.skip("no cgroup may be made here")
    # a parent whose child burns the time and ends, as a relay's processes do
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])\n"
    command = [sys.executable, "-c", parent + "print('done', flush=True)\nsys.stdin.read()"]
    process = subprocess.Popen(meter.inside(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    (tmp_path / "pid").write_text(f"  {process.pid}\n")
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline() == b"done\n"
        assert process.pid in meter.pids()
        assert 0.25 < meter.cpu() < 30
        assert meter.memory() > 1
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
        left = meter.pids()
        meter.close()
    assert left == []
    assert meter.group is None
