"""The compiled codec of the queue beside its slow twin; pytest-benchmark."""

import sys
from pathlib import Path
from typing import Any

import pytest

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue import _checksum, _envelope
from fastrelay.queue._batch import Batch
from fastrelay.queue._entry import Entry
from fastrelay.queue._record import Record, message_record

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from reference import record_reference as reference

BODY = b"x" * 4096
ENVELOPE = Envelope(
    b"sender@example.org",
    [Recipient(b"user@example.net", b"user@example.net")],
    1.7e9,
    4096,
    message_id=b"<1@example.org>",
    client_name=b"mx.example.org",
    client_address=b"192.0.2.1",
    helo=b"mx.example.org",
    protocol=b"ESMTP",
)
SENT = [Outcome(0, Status.SENT, b"2.0.0", b"250 ok")]


@pytest.mark.parametrize("which", ["compiled", "table", "reference"])
def bench_crc32c(benchmark: Any, which: str) -> None:
    call = {
        "compiled": lambda: _checksum.crc32c(BODY),
        "table": lambda: _checksum.crc32c(BODY, 0, True),
        "reference": lambda: reference.crc32c(BODY),
    }[which]
    benchmark(call)


def bench_message(benchmark: Any) -> None:
    """Envelope, headers and CRCs of a 4 KB message."""
    benchmark(message_record, 1, ENVELOPE, [BODY], None, 1 << 20)


def bench_batch_of_20(benchmark: Any) -> None:
    """Twenty messages encoded and sealed: all that a commit costs but its calls."""

    def batch() -> int:
        sealed = Batch(1, 4096, 1, 4 << 20, 1, 1, (0, 0))
        for _ in range(20):
            sealed.add(message_record(1, ENVELOPE, [BODY], None, 1 << 20), 4 << 20)
        return len(sealed.finish(0.0))

    benchmark(batch)


def bench_outcome(benchmark: Any) -> None:
    """SENT of a message with one recipient, 100 at a time."""

    def outcomes() -> None:
        record = Record()
        for entry in [Entry(1, 1) for _ in range(100)]:
            record.add_outcomes(entry, SENT, 0.0)

    benchmark(outcomes)


def bench_decode_envelope(benchmark: Any) -> None:
    benchmark(_envelope.decode_envelope, _envelope.encode_envelope(ENVELOPE))
