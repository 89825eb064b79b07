"""A process that stores and finishes messages until it is killed; test_crash_queue.py runs it.

Its ledger on stdout: "A number" acknowledged, "D number" about to be recorded as sent, "F count" fatal, and
so many acknowledged after it. A line is written after the commit: what the reader has read was durable.
"""

import os
import sys
import time
from pathlib import Path

from fastrelay.borders import Status
from support.queue_lab import Lab, envelope, outcome


def main(directory: str, count: int) -> None:
    lab = Lab(Path(directory), shards=(0, 1))
    os.write(1, b"R %d\n" % len(lab.problems))
    told = 0
    for i in range(count):
        body = b"%d " % i + b"x" * (i * 37 % 9000)
        lab.append(envelope(str(len(body))), [body[:3], body[3:]])
        if i % 20 == 19:
            lab.answered(i + 1)
            if lab.fatal:
                break
            os.write(1, b"".join(b"A %d\n" % e.message_id for e in lab.acked[told:]))
            for entry in lab.acked[told::3]:
                os.write(1, b"D %d\n" % entry.message_id)
                lab.spool.record(entry, [outcome(0, Status.SENT)])
            told = len(lab.acked)
    if lab.fatal:
        time.sleep(0.05)
        lab.spool.completed()
        os.write(1, b"F %d\n" % (len(lab.acked) - lab.acked_before_fatal))
        os._exit(75)
    lab.stop()
    os.write(1, b"S\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
