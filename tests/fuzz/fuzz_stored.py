"""What a disk gives back: the queue's frames and an LMDB file. A target returns, or its parser said what is wrong.

Checksums would keep a fuzzer out, so the frames of `frames` are sealed here, after the bytes were chosen:
what is tried is the state machine behind them. `segment` is about bytes that nobody sealed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import tempfile
from pathlib import Path

import lmdb as lmdb_library

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue import _envelope, _format, _outcome
from fastrelay.queue._checksum import crc32c
from fastrelay.queue._format import BATCH, BATCH_SIZE, BLOCK, CORRUPT, MAGIC, CorruptRecord, NewerFormat
from fastrelay.queue._replay import Replay, frame_at
from fastrelay.queue.files import Files
from fastrelay.queue.reader import Reader
from fastrelay.queue.segment import Segment
from fastrelay.tables import TableError
from fastrelay.tables._lmdb import LmdbFile

SALT = 0x5EED
SAID = (CorruptRecord, NewerFormat)
_FRAME = struct.Struct("<HBBIQQI")
_MOST = 64 << 10


class Memory(Files):
    """Segments are bytes: the descriptor is the place in the list."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return self.contents[fd][offset : offset + size]


def envelope(data: bytes) -> None:
    with contextlib.suppress(*SAID):
        found = _envelope.decode_envelope(data)
        again = _envelope.decode_envelope(_envelope.encode_envelope(found))
        assert repr(again) == repr(found)


def outcomes(data: bytes) -> None:
    with contextlib.suppress(*SAID):
        found = _outcome.decode_outcomes(data)
        again = _outcome.decode_outcomes(_outcome.encode_outcomes(found))
        assert len(again) == len(found) and [o.recipient for o in again] == [o.recipient for o in found]


def frame(kind: int, flags: int, sequence: int, message: int, payload: bytes) -> bytes:
    head = _FRAME.pack(MAGIC, kind, flags, len(payload), sequence, message, crc32c(payload))
    return head + struct.pack("<I", crc32c(struct.pack("<Q", SALT) + head)) + payload


def batch(number: int, first: int, frames: list[tuple[int, int, int, bytes]]) -> bytes:
    """Padded to blocks; the frames get their sequence numbers and checksums."""
    body = b"".join(frame(kind, flags, first + 1 + i, message, payload)
                    for i, (kind, flags, message, payload) in enumerate(frames))  # fmt: skip
    size = BATCH_SIZE + len(body)
    start = struct.pack("<QQIIQQd", number, first, size, 1 + len(frames), 0, 0, 1.0)
    whole = frame(BATCH, 0, first, 0, start) + body
    return whole + bytes(-len(whole) % BLOCK)


def sealed(data: bytes) -> bytes:
    """Batches of what the bytes say: kind, flags, message, length (2), payload; kind 0 ends a batch.

    A COMMIT with the flag 128 gets the right sums, so that a message can come into being.
    """
    made, frames, number, first = bytes(BLOCK), [], 1, 1
    total, crc, count = 0, 0, 0
    while len(data) >= 5 and len(made) < _MOST:
        kind, flags, message, size = (
            data[0] % 13,
            data[1],
            data[2] % 4 + 1,
            int.from_bytes(data[3:5], "little"),
        )
        payload, data = data[5 : 5 + size], data[5 + size :]
        if kind == 0:
            made += batch(number, first, frames)
            number, first, frames = number + 1, first + 1 + len(frames), []
            continue
        if kind == _format.ENVELOPE and not flags & 2:
            total, crc, count = 0, 0, 0
        if kind == _format.COMMIT and flags & 128:
            payload = struct.pack("<QII", total, count, crc)
        crc, count = crc32c(struct.pack("<I", crc32c(payload)), crc), count + 1
        total += len(payload) if kind == _format.DATA else 0
        frames.append((kind, flags & 3, message, payload))
    return made + batch(number, first, frames)


def frames(data: bytes) -> None:
    """Sealed frames in any order: the replay takes them, and reads back what it believes in."""
    stored = sealed(data)
    replay = Replay()
    with contextlib.suppress(*SAID):
        pos = BLOCK
        while (found := replay.batch_at(stored, pos, SALT)) is not None:
            assert replay.whole(stored, pos, SALT)
            replay.apply(stored, pos, 7)
            pos += found[2]
        assert pos == len(stored)
        replay.end()
    reader = Reader(Memory([stored]), {7: Segment(7, 0, SALT, len(stored))})
    for entry in replay.entries.values():
        assert entry.pending_recipients() or entry.failed_recipients() or entry.owes_expansion
        assert set(entry.pending_recipients() + entry.failed_recipients()) <= set(range(entry.recipients))
        with contextlib.suppress(*SAID):
            _, content = reader.message(entry)
            assert isinstance(content, list)
        for read in (reader.envelope, reader.notes):
            with contextlib.suppress(*SAID):
                read(entry)


def segment(data: bytes) -> None:
    """A sealed log with damage: place (4), length, bytes, and so on; what is after a 0xFF length is the log."""
    patches = []
    while len(data) >= 5 and data[4] != 0xFF:
        size = data[4] % 16
        patches.append((int.from_bytes(data[:4], "little"), data[5 : 5 + size]))
        data = data[5 + size :]
    stored = bytearray(sealed(data[5:]))
    for place, value in patches:
        place %= len(stored)
        stored[place : place + len(value)] = value[: len(stored) - place]
    replay = Replay()
    with contextlib.suppress(*SAID):
        pos = BLOCK
        while pos < len(stored):
            found = replay.batch_at(stored, pos, SALT)
            if found is not None and replay.whole(stored, pos, SALT):
                replay.apply(stored, pos, 7)
                pos += found[2]
                continue
            following = replay.find(stored, pos + BLOCK, len(stored), SALT)
            end = following if following >= 0 else len(stored)
            replay.salvage(stored, pos, end, SALT, 7)
            pos = end
        replay.end()
    for pos in range(0, len(stored), 997):
        frame_at(stored, pos, SALT)


@functools.cache
def lmdb_base() -> bytes:
    """A small file of ours: branch and leaf pages, a value on pages of its own."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "table.lmdb"
        with (
            lmdb_library.open(str(path), subdir=False, lock=False, map_size=1 << 20) as environment,
            environment.begin(write=True) as transaction,
        ):
            for i in range(300):
                transaction.put(b"key%03d\0" % i, b"value %d %b\0" % (i, b"v" * (i % 90)))
            transaction.put(b"big\0", b"x" * 9000 + b"\0")
        return path.read_bytes()


@functools.cache
def scratch() -> tempfile.TemporaryDirectory[str]:
    """libFuzzer ends without a farewell: run_all.py gives a TMPDIR and removes it."""
    memory = "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK)
    return tempfile.TemporaryDirectory(dir="/dev/shm" if memory else None)


def lmdb(data: bytes) -> None:
    """The file with patches: place (4), length, bytes; then look keys up."""
    stored = bytearray(lmdb_base())
    if data and data[0] & 1:
        del stored[int.from_bytes(data[1:4], "little") % len(stored) :]
    data = data[4:]
    while len(data) >= 5 and stored:
        place, size = int.from_bytes(data[:4], "little") % len(stored), data[4] % 32
        stored[place : place + size] = data[5 : 5 + size][: len(stored) - place]
        data = data[5 + size :]
    path = Path(scratch().name) / "table.lmdb"
    path.write_bytes(stored)
    file = LmdbFile("lmdb:fuzz", os.fsencode(path), False, False, lambda key: None)
    for key in (b"key000", b"key150", b"key299", b"big", b"nokey", b"", b"k" * 511, b"z" * 600):
        with contextlib.suppress(TableError):
            value = file.get(key)
            assert value is None or type(value) is bytes


def seeds() -> dict[str, list[bytes]]:
    people = [Recipient(b"a@x.test", b"A@x.test", b"rfc822;a", 3), Recipient(b"b@x.test")]
    letter = Envelope(
        b"s@y.test", people, 1.5, 42, 3, b"env", b"<m@i>", b"c.test", b"192.0.2.1", b"helo", b"ESMTP"
    )
    stored = _envelope.encode_envelope(letter)
    verdicts = [
        Outcome(0, Status.DEFERRED, b"4.0.0", b"later", b"mx[1.2.3.4]:25"),
        Outcome(1, Status.BOUNCED, b"5.1.1", b"no"),
    ]
    notes = _outcome.encode_outcomes(verdicts, 5.0, 1)

    def says(kind: int, flags: int, payload: bytes = b"", message: int = 0) -> bytes:
        return bytes([kind, flags, message]) + len(payload).to_bytes(2, "little") + payload

    message = says(2, 0, stored) + says(3, 0, b"Subject: x\r\n\r\n") + says(4, 128)
    split = says(2, 0, stored[:60]) + says(2, 2, stored[60:]) + says(0, 0) + says(3, 0, b"x") + says(4, 128)
    ends = [
        says(5, 0, b"\0\0\0\0"),
        says(5, 0),
        says(6, 0, notes),
        says(7, 0, b"\1\0\0\0"),
        says(9, 0),
        says(CORRUPT, 0),
    ]
    state = says(8, 0, struct.pack("<dII", 9.0, 2, 4))
    stray = (
        stored[:48] + b"\1\x08\0\0\0" + struct.pack("<Q", 1 << 40) + stored[48:]
    )  # a bit without a recipient
    copied = says(2, 0, stored) + says(6, 1, notes) + says(4, 128) + ends[2]
    logs = [says(2, 0, stray) + says(4, 128)]
    logs += [message, split, message + state + notes, *(message + says(0, 0) + end for end in ends),
            message + says(6, 1, notes) + message, copied]  # fmt: skip
    damage = b"\x10\x10\0\0\3abc\0\0\0\0\xff"
    return {
        "envelope": [stored, stored[:56]],
        "outcomes": [notes, notes[:16]],
        "frames": logs,
        "segment": [damage + log for log in logs],
        "lmdb": [
            b"\0\0\0\0",
            b"\0\0\0\0\x70\x20\0\0\4abcd",
            b"\1\0\x30\0",
            b"\0\0\0\0\x90\0\0\0\x10" + bytes(16),
        ],
    }


TARGETS = {"envelope": envelope, "outcomes": outcomes, "frames": frames, "segment": segment, "lmdb": lmdb}
