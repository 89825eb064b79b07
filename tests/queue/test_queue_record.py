"""The compiled codec against its slow twin, and against hostile bytes."""

import contextlib
import gc
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.borders import Envelope, Outcome, Recipient, Status
from fastrelay.queue import _checksum, _envelope, _outcome, _replay
from fastrelay.queue._batch import Batch
from fastrelay.queue._entry import Entry
from fastrelay.queue._format import CorruptRecord, NewerFormat
from fastrelay.queue._record import Record, message_record
from reference import record_reference as reference

short = st.binary(max_size=60)
recipients = st.builds(Recipient, short, short, short, st.integers(0, 15))
envelopes = st.builds(
    Envelope,
    sender=short,
    recipients=st.lists(recipients, max_size=70),
    arrival=st.floats(0, 1e11),
    size=st.integers(0, 1 << 62),
    flags=st.integers(0, (1 << 32) - 1),
    envid=short,
    message_id=short,
    client_name=short,
    client_address=short,
    helo=short,
    protocol=short,
    notice_of=st.integers(0, (1 << 64) - 1),
    expanded=st.lists(recipients, max_size=3).map(tuple),
)
outcomes = st.builds(
    Outcome,
    st.integers(0, 500),
    st.sampled_from(Status),
    short,
    short,
    short,
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    short,
    short,
    short,
)


@given(st.binary(max_size=300), st.integers(0, (1 << 32) - 1))
def test_crc32c_is_the_reference_with_and_without_the_instruction(data: bytes, start: int) -> None:
    wanted = reference.crc32c(data, start)
    assert _checksum.crc32c(data, start) == wanted
    assert _checksum.crc32c(data, start, True) == wanted


def test_crc32c_check_value() -> None:
    assert _checksum.crc32c(b"123456789") == 0xE3069283


@given(envelopes)
def test_envelope_round_trip(envelope: Envelope) -> None:
    assert _envelope.decode_envelope(_envelope.encode_envelope(envelope)) == envelope


@given(envelopes, st.data())
@settings(max_examples=200)
def test_damaged_envelope_is_an_error_or_an_envelope(envelope: Envelope, data: st.DataObject) -> None:
    raw = bytearray(_envelope.encode_envelope(envelope))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    with contextlib.suppress(CorruptRecord, NewerFormat):  # what they are for
        assert isinstance(_envelope.decode_envelope(bytes(raw)), Envelope)


@given(st.lists(outcomes, max_size=20))
def test_outcomes_round_trip(found: list[Outcome]) -> None:
    """One that is stored as sent is there because of its notice."""
    for outcome in found:
        outcome.notice = outcome.status is Status.SENT
    assert _outcome.decode_outcomes(_outcome.encode_outcomes(found, 1.5, 2)) == found


@given(st.binary(max_size=200))
def test_hostile_outcomes_are_an_error_or_outcomes(raw: bytes) -> None:
    with contextlib.suppress(CorruptRecord):  # what it is for
        assert isinstance(_outcome.decode_outcomes(raw), list)


def test_what_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="field"):
        _envelope.encode_envelope(Envelope(b"x" * 65536, [], 0.0))
    with pytest.raises(ValueError, match="recipient"):
        _envelope.encode_envelope(Envelope(b"", [Recipient(b"x" * 65536)], 0.0))


def test_newer_envelope_is_not_touched() -> None:
    raw = bytearray(_envelope.encode_envelope(Envelope(b"", [], 0.0)))
    raw[0] = 2
    with pytest.raises(NewerFormat):
        _envelope.decode_envelope(bytes(raw))


def batch_bytes(records: list[Record], salt: int = 77, sequence: int = 1) -> bytes:
    batch = Batch(3, 4096, salt, 4 << 20, 1, sequence, (0, 0))
    for record in records:
        assert batch.add(record, 4 << 20)
    raw = b"".join(batch.finish(0.0).buffers)
    assert len(raw) == batch.size and len(raw) % 4096 == 0
    return raw


@given(envelopes, st.lists(st.binary(max_size=5000), max_size=6), st.integers(1000, 20000))
@settings(max_examples=60, deadline=None)
def test_message_frames_are_what_the_reference_reads(
    envelope: Envelope, content: list[bytes], chunk: int
) -> None:
    pieces = [memoryview(p) if i % 2 else p for i, p in enumerate(content)]
    raw = batch_bytes([message_record(42, envelope, pieces, None, chunk)])
    segment = struct.pack("<8sIIQQQ", b"FRSEG\r\n\x1a", 1, 0, 3, 77, len(raw) + 4096)
    segment += struct.pack("<I", reference.crc32c(segment))
    found = reference.frames(segment + bytes(4096 - len(segment)) + raw, check=len(raw) < 20000)
    assert [f.sequence for f in found] == list(range(1, len(found) + 1))
    assert b"".join(f.payload for f in found if f.type == reference.DATA) == b"".join(content)
    stored = b"".join(f.payload for f in found if f.type == reference.ENVELOPE)
    assert _envelope.decode_envelope(stored) == envelope
    assert all(len(f.payload) <= chunk for f in found)
    total, count, crc = struct.unpack("<QII", found[-1].payload)
    body = [f for f in found[1:-1]]
    assert total == sum(map(len, content)) and count == len(body)
    assert crc == reference.crc32c(b"".join(struct.pack("<I", _checksum.crc32c(f.payload)) for f in body))


def test_long_pieces_are_not_copied() -> None:
    body = bytearray(b"x" * 8192)
    record = message_record(1, Envelope(b"", [Recipient(b"a@b")], 0.0), [body], None, 1 << 20)
    batch = Batch(1, 4096, 1, 1 << 20, 1, 1, (0, 0))
    batch.add(record, 1 << 20)
    body[100:103] = b"yyy"
    assert b"yyy" in b"".join(batch.finish(0.0).buffers)


def test_an_entry_is_small_and_not_tracked_by_the_collector() -> None:
    entry = Entry(1, 1)
    assert Entry.__basicsize__ <= 256
    assert not gc.is_tracked(entry)
    with pytest.raises(AttributeError):
        entry.anything = 1  # type: ignore[attr-defined]


@given(st.integers(1, 200), st.data())
def test_an_entrys_recipients(count: int, data: st.DataObject) -> None:
    entry = Entry(1, count)
    gone = data.draw(st.sets(st.integers(0, count - 1)))
    ended = entry.settled(gone)
    assert entry.pending_recipients() == [i for i in range(count) if i not in gone]
    assert ended == (len(gone) == count)
    assert not entry.is_pending(count)


def test_an_outcome_that_cannot_be_encoded_leaves_the_others_whole() -> None:
    record = Record()
    good, bad = Entry(1, 1), Entry(2, 1)
    record.add_outcomes(good, [Outcome(0, Status.DEFERRED, b"4.0.0", b"one")], 5.0)
    with pytest.raises(TypeError):
        record.add_outcomes(bad, [Outcome(0, Status.DEFERRED, b"4.0.0", "text")], 5.0)  # type: ignore[arg-type]
    record.add_outcomes(good, [Outcome(0, Status.SENT, b"2.0.0", b"")], 0.0)
    raw = batch_bytes([record])
    kinds = []
    pos = 0
    while (frame := _replay.frame_at(raw, pos, 77)) is not None:
        assert frame[4]
        kinds.append((frame[0], frame[3]))
        pos += 32 + frame[2]
    assert kinds == [(1, 0), (6, 1), (5, 1)]
