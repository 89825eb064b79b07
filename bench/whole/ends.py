"""The two ends: Debian's smtp-source and smtp-sink, and for the time to the 250 `fastrelay source`."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.whole.cases import DOMAIN, SLOW, Case
from bench.whole.measure import cpu_of, machine_busy
from bench.whole.relays import Relay, RelayFailed, free_port

TIME_LIMIT = 180.0  # for one measurement, and more for many messages
A_MESSAGE = 0.01  # seconds
MEMORY_EVERY = 0.4  # seconds
TICK = 0.005


class Sink:
    """Next hops, and how many messages the quick ones have had: they write their running counters to a file."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.processes: list[subprocess.Popen[bytes]] = []
        self.slow_port = 0

    def __enter__(self) -> Sink:
        self.out = tempfile.TemporaryFile()
        case, self.port = self.case, free_port()
        if case.late or case.refused_every:
            words = [str(self.port), str(case.late), str(case.refused_every)]
            self._run([sys.executable, "-m", "bench.whole.late_sink", *words], self.out)
        else:
            self._run(self._smtp_sink(self.port, "-c", "-m", "2000"), self.out)
        if case.slow:
            self.slow_port = free_port()
            self._run(self._smtp_sink(self.slow_port, "-m", "2000", "-w", str(SLOW)), subprocess.DEVNULL)
        return self

    def _smtp_sink(self, port: int, *options: str) -> list[str]:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        host = "" if self.case.destinations else "127.0.0.1"  # each of 127.0.0.0/8 is another next hop
        return ["smtp-sink", *user, *options, "-h", "sink.example", f"{host}:{port}", "1000"]

    def _run(self, command: list[str], out: IO[bytes] | int) -> None:
        self.processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL))

    def __exit__(self, *exc: object) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(10)
        self.out.close()

    def count(self) -> int:
        assert all(process.poll() is None for process in self.processes), "a sink has ended"
        size = os.fstat(self.out.fileno()).st_size
        start = max(0, size - 400)
        return last_count(os.pread(self.out.fileno(), size - start, start))

    def cpu(self) -> float:
        return sum(cpu_of(process.pid) for process in self.processes)


def last_count(text: bytes) -> int:
    found = re.findall(rb"mesg=(\d+)\s", text)
    return int(found[-1]) if found else 0


@dataclass
class Sample:
    """What one measurement found. Times in milliseconds; nothing for what it did not look at."""

    accepted: float = 0.0  # messages a second, until the source had its last 250
    delivered: float = 0.0  # messages a second, until the sink had the last one
    cpu_ms: float | None = None  # a message, whole process tree
    memory: float | None = None  # MiB, the highest seen
    others: float = 0.0  # cores, taken by what is no part of the measurement
    rate: float | None = None  # offered, messages a second
    p50: float | None = None
    p99: float | None = None


def smtp_source(case: Case, port: int, count: int) -> list[str]:
    command = ["smtp-source", "-m", str(count), "-s", str(case.sessions), "-l", str(case.size), "-C", "10"]
    command += [
        "-r",
        str(case.recipients),
        "-f",
        "sender@source.example",
        "-t",
        f"user@{DOMAIN}",
        "-M",
        "client.example",
    ]
    command += ["-d"] if case.reuse else []
    command += ["-N"] if case.numbered else []
    return [*command, f"127.0.0.1:{port}"]


def fastrelay_source(case: Case, port: int, count: int, rate: float = 0.0) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "fastrelay",
        "source",
        "--json",
        "--messages",
        str(count),
        "--helo",
        "client.example",
    ]
    domain = f"d%d.{DOMAIN}" if case.destinations else DOMAIN
    command += ["--sessions", str(case.sessions), "--size", str(case.size), "--to", f"user@{domain}"]
    command += ["--pipelining"] if case.pipelined else []
    command += ["--per-connection", "0" if case.reuse else "1", "--from", "sender@source.example"]
    command += ["--rate", f"{rate:.1f}"] if rate else []
    return [*command, f"127.0.0.1:{port}"]


def drive(case: Case, command: list[str], count: int, relay: Relay, sink: Sink) -> tuple[Sample, str]:
    """Run a source of `count` messages; wait until the sink has what arrives soon. Also what the source printed."""
    wanted = arriving(case, count)
    begin_count, begin_cpu, begin = sink.count(), relay.meter.cpu(), time.monotonic()
    begin_others = others(relay, sink)
    accepted_at, memory, look_at = 0.0, 0.0, 0.0
    with tempfile.TemporaryFile("w+") as said:
        source = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            while not accepted_at or sink.count() - begin_count < wanted:
                now = time.monotonic()
                if not accepted_at and source.poll() is not None:
                    accepted_at = now
                    if source.returncode:
                        said.seek(0)
                        raise RelayFailed(f"{command[0]}: {said.read()[-800:]}\n{relay.directory.log_end()}")
                if now >= look_at:
                    memory, look_at = max(memory, relay.meter.memory()), now + MEMORY_EVERY
                if now > begin + TIME_LIMIT + count * A_MESSAGE:
                    arrived = sink.count() - begin_count
                    raise RelayFailed(
                        f"{relay.name}: {arrived} of {wanted} arrived\n{relay.directory.log_end()}"
                    )
                time.sleep(TICK)
        finally:
            if source.poll() is None:
                source.kill()
                source.wait(10)
        delivered_at = time.monotonic()
        time.sleep(0.4)  # what it still has to write down about them is part of the cost
        said.seek(0)
        text = said.read()
    cpu = (relay.meter.cpu() - begin_cpu) * 1000 / count
    noise = max(0.0, others(relay, sink) - begin_others) / (time.monotonic() - begin)
    sample = Sample(count / (accepted_at - begin), wanted / (delivered_at - begin), cpu, memory, noise)
    return sample, text


def direct(case: Case, sink: Sink, count: int) -> Sample:
    """Source straight to sink: what the two ends allow."""
    wanted, begin = sink.count() + count, time.monotonic()
    subprocess.run(smtp_source(case, sink.port, count), check=True, timeout=TIME_LIMIT)
    accepted_at = time.monotonic()
    while sink.count() < wanted and time.monotonic() < accepted_at + TIME_LIMIT:
        time.sleep(TICK)
    return Sample(count / (accepted_at - begin), count / (time.monotonic() - begin))


def others(relay: Relay, sink: Sink) -> float:
    """CPU seconds, so far, of all that is neither relay, source, sink nor this program."""
    ours = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    busy = machine_busy(Path("/proc/stat").read_text())
    return busy - relay.meter.cpu() - sink.cpu() - ours


def measure(case: Case, relay: Relay, sink: Sink, count: int) -> Sample:
    drive(case, source(case, relay.port, case.warm_up), case.warm_up, relay, sink)
    if case.half_load:
        return half_load(case, relay, sink, count)
    if case.rate:
        return at_rate(case, relay, sink, count, case.rate)
    return drive(case, source(case, relay.port, count), count, relay, sink)[0]


def source(case: Case, port: int, count: int) -> list[str]:
    """smtp-source where it can do it."""
    make = fastrelay_source if case.pipelined or case.destinations else smtp_source
    return make(case, port, count)


def arriving(case: Case, count: int) -> int:
    """How many of `count` messages the sink will have soon; one less when it is about every so many."""
    return count if case.arriving == 1.0 else int(count * case.arriving) - 1


def half_load(case: Case, relay: Relay, sink: Sink, count: int) -> Sample:
    """First as fast as it goes with the same source; then at half that rate, for the time to the 250."""
    full, _ = drive(case, fastrelay_source(case, relay.port, count), count, relay, sink)
    return at_rate(case, relay, sink, count, full.delivered / 2)


def at_rate(case: Case, relay: Relay, sink: Sink, count: int, rate: float) -> Sample:
    sample, said = drive(case, fastrelay_source(case, relay.port, count, rate), count, relay, sink)
    times = json.loads(said)["message_ms"]
    sample.rate, sample.p50, sample.p99 = rate, times["p50"], times["p99"]
    return sample
