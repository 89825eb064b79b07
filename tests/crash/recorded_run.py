"""A short life of a queue for strace to record: mail, outcomes, a notice, a relocation, a crash, a start.

test_disk_states.py runs it. Its ledger on stdout, each line after what it tells is durable but for E:
"A number" acknowledged, "E number" about to end, "G number" has ended for good, "S" a clean stop.
"""

import os
import sys
from pathlib import Path

from fastrelay.borders import Status
from fastrelay.queue._entry import Entry
from support.queue_lab import Lab, envelope, outcome

SEGMENT = 128 << 10


class Run:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.begin()

    def begin(self) -> None:
        self.lab = Lab(self.directory, shards=(0, 1), fastrelay_segment_size=SEGMENT)
        self.told = 0

    def say(self, letter: str, entries: list[Entry]) -> None:
        if entries:
            os.write(1, b"".join(b"%c %d\n" % (ord(letter), entry.message_id) for entry in entries))

    def store(self, *sizes: int) -> list[Entry]:
        for size in sizes:
            self.lab.append(envelope(str(size)), [b"x" * size])
        self.lab.answered(self.told + len(sizes))
        new, self.told = self.lab.acked[self.told :], self.told + len(sizes)
        self.say("A", new)
        return new

    def end(self, entries: list[Entry]) -> None:
        self.say("E", entries)
        for entry in entries:
            self.lab.spool.record(entry, [outcome(0, Status.SENT)])
        self.lab.settle()
        self.say("G", entries)

    def defer(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.lab.spool.record(entry, [outcome(0, Status.DEFERRED, b"later")], next_try=5.0)
        self.lab.settle()

    def bounce(self, entry: Entry) -> None:
        self.say("E", [entry])
        self.lab.spool.record(entry, [outcome(0, Status.BOUNCED, b"no")])
        self.lab.notice(envelope("8", notice_of=entry.message_id), entry.message_id)
        self.lab.answered(self.told + 1)
        self.told += 1
        self.say("A", self.lab.acked[-1:])
        self.lab.settle()
        self.say("G", [entry])


def main(directory: str) -> None:
    run = Run(Path(directory))
    old = run.store(300)
    run.defer(old)
    for _ in range(3):  # until the old one is in the way, and is written again
        run.end(run.store(40_000, 700, 90_000, 20, 60_000)[1:])
    kept = run.store(3000, 150_000, 5)
    run.bounce(kept[0])
    run.lab.until(lambda: not run.lab.spool.wants_tick)
    run.lab.crash()
    run.begin()
    run.end([entry for entry in run.lab.spool.entries.values() if entry.message_id != old[0].message_id][:3])
    run.store(50, 9000)
    run.lab.stop()
    os.write(1, b"S\n")


if __name__ == "__main__":
    main(sys.argv[1])
