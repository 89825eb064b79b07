"""Appending to the queue and finishing: `python bench/step/bench_append.py [DIRECTORY] [MESSAGES]`.

A loop's thread with so many messages in flight; each is recorded as sent when it is durable. CPU a message
of the loop's thread and of the process (the commit thread and its writes included), and messages a second.
"""

import os
import select
import shutil
import sys
import tempfile
import time

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue._entry import Entry
from fastrelay.queue.settings import QueueSettings
from fastrelay.queue.spool import Spool

SENT = [Outcome(0, Status.SENT, b"2.0.0", b"250 ok")]
ENVELOPE = Envelope(b"sender@example.org", [Recipient(b"user@example.net")], 1.7e9, 4096)


def run(directory: str, count: int, in_flight: int, size: int) -> str:
    root = os.open(directory, os.O_RDONLY)
    settings = QueueSettings(1, 64 << 20, 4 << 20, 120.0, 10240000, 0)
    spool = Spool(root, [0], settings, lambda reason: os._exit(75))
    spool.recover()
    spool.start()
    body = b"x" * size
    ready: list[Entry] = []
    done = sent = 0

    def acknowledge(entry: Entry | None) -> None:
        if entry is not None:
            ready.append(entry)

    spool.append(spool.new_id(time.time()), ENVELOPE, [body], acknowledge)
    while not ready:  # the first segments are made
        select.select([spool.wake_fd], [], [], 0.01)
        spool.completed()
    time.sleep(0.5)
    start = time.perf_counter(), time.thread_time(), time.process_time()
    while done < count:
        while sent < count and sent - done < in_flight:
            spool.append(spool.new_id(time.time()), ENVELOPE, [body], acknowledge)
            sent += 1
        select.select([spool.wake_fd], [], [])
        spool.completed()
        done += len(ready)
        for entry in ready:
            spool.record(entry, SENT)
        ready.clear()
    end = time.perf_counter(), time.thread_time(), time.process_time()
    wall, loop, process = (b - a for a, b in zip(start, end, strict=True))
    batches = spool._all[0].batch_number
    spool.stop()
    os.close(root)
    return (
        f"{size:>8} B {in_flight:>4} in flight: {count / wall:>8.0f}/s, loop {loop / count * 1e6:6.1f} us, "
        f"process {process / count * 1e6:6.1f} us a message, {count / batches:5.1f} a batch"
    )


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    for size in (1024, 4096, 65536):
        for in_flight in (1, 20, 50, 500):
            directory = tempfile.mkdtemp(dir=parent)
            messages = max(200, count // (1 + size // 8192) // (1 if in_flight > 1 else 5))
            print(run(directory, messages, in_flight, size), flush=True)
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
