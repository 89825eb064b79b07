"""Power cuts: a relay whose queue is on an ext4 image of its own, cut while clients send; test_power_cuts.py runs it.

    unshare --mount python tests/crash/power_cuts.py --cuts 20 --seed 7 [--lying]     # needs root and loop devices

A cut is the EXT4_IOC_SHUTDOWN ioctl: from then on the file system writes nothing, and what was not on the image is
gone, as with the power. The processes are killed, the image is mounted again (its journal is replayed), the real
recovery runs, and each message whose 250 a client had read *before* the ioctl began must be in the queue or have
been delivered; what is in it although it was delivered must have been in flight. kill -9 alone would prove nothing:
the page cache survives it. --lying preloads libeatmydata, whose fdatasync does nothing: then mail must be lost, or
this program could not see a loss. One line of JSON at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from crash.crash_parts import InFlight, TimedSink, family, gone, kill, queued_labels, shards_of
from support.ledger import Senders, missing
from support.relay import Fastrelay, until

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
MODES = (2, 1)  # without the journal's log, and with it: then names and sizes are newer than contents
IMAGE_SIZE = 96 << 20
WINDOW = 2.0  # seconds; crash_parts.InFlight
LIVES = 20  # of an image: then it is rather full
EATMYDATA = next(map(str, Path("/usr/lib").glob("*/libeatmydata.so")), "")


@dataclass
class Report:
    seed: int
    cuts: int = 0
    answered: int = 0  # before the cuts
    recovered: int = 0  # messages found in the queue after them
    in_flight: str = ""  # those of them that the next hop had
    lost: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what a recovery called damage
    seconds: float = 0.0


class Disk:
    """The image, mounted at `place`."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image, self.place = image, place
        self.make()

    def make(self) -> None:
        with open(self.image, "wb") as file:
            file.truncate(IMAGE_SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(self.image)], check=True)
        self.mount()
        self.place.chmod(0o755)

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)

    def cut(self, mode: int) -> None:
        directory = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("i", mode))
        finally:
            os.close(directory)

    def unmount(self) -> None:
        until(lambda: subprocess.run(["umount", str(self.place)], capture_output=True).returncode == 0)


class Cuts:
    """One relay and one disk, started and cut again and again."""

    def __init__(self, seed: int, lying: bool) -> None:
        self.report, self.chance, self.lying = Report(seed), random.Random(seed), lying
        self.sink = TimedSink(later=True)
        self.flying = InFlight(self.sink, WINDOW)
        self.due: set[str] = set()  # of this life and of those before: none may be missing, ever
        self.relay: Fastrelay

    def run(self, cuts: int) -> Report:
        started = time.monotonic()
        with self.sink:
            self.relay = Fastrelay(
                {"relayhost": self.sink.next_hop, "minimal_backoff_time": "2s", "maximal_backoff_time": "2s",
                 "message_size_limit": 1000000}
            )  # fmt: skip
            disk = Disk(self.relay.directory / "image", self.relay.spool)
            try:
                for i in range(cuts):
                    if i and i % LIVES == 0:
                        self.due.clear()
                        disk.unmount()
                        disk.make()
                    self.one(disk)
                    if self.lying and self.report.lost:
                        break
            finally:
                disk.unmount()
                self.relay.__exit__()
        if not self.lying:  # an outcome that was not synced is no matter of 20 ms
            self.report.in_flight = self.flying.check()
        self.report.seconds = round(time.monotonic() - started, 1)
        return self.report

    def one(self, disk: Disk) -> None:
        relay, chance, report = self.relay, self.chance, self.report
        if self.lying:
            os.environ["LD_PRELOAD"] = EATMYDATA
        relay.start()
        os.environ.pop("LD_PRELOAD", None)
        pids = family(relay)
        with Senders(relay.host, relay.port, count=4, seed=chance.randrange(1 << 30)) as senders:
            senders.wait(5)
            time.sleep(chance.uniform(0.0, 0.25))
            answered = list(senders.answered)
            cut_at = time.monotonic()
            disk.cut(chance.choice(MODES))
            kill(pids + family(relay))
            gone(relay, pids)
            senders.stop()
        disk.unmount()
        disk.mount()
        queued, problems = queued_labels(relay.spool, shards_of(relay.spool))
        if not self.lying:
            self.flying.killed(cut_at, queued, senders.longest_wait())
        report.cuts += 1
        report.answered += len(answered)
        report.recovered += len(queued)
        report.problems += problems
        self.due.update(answered)
        report.lost += sorted(missing(self.due, queued, self.sink.came))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--lying", action="store_true")
    options = parser.parse_args()
    print(json.dumps(asdict(Cuts(options.seed, options.lying).run(options.cuts))))


if __name__ == "__main__":
    main()
