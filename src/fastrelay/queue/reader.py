"""A message read back from the log: for a retry, for postcat, for a notice, for relocation.

Its frames follow each other, but for the padding and the BATCH frames where it is continued in another
batch, and the change to the next segment. Everything is checked again: CorruptRecord when it is not what
was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fastrelay.borders import Envelope, Outcome
from fastrelay.queue._entry import Entry
from fastrelay.queue._envelope import decode_envelope
from fastrelay.queue._format import (
    BATCH,
    BLOCK,
    COMMIT,
    DATA,
    ENVELOPE,
    HEADER,
    MAX_PAYLOAD,
    OUTCOME,
    CorruptRecord,
)
from fastrelay.queue._outcome import decode_outcomes
from fastrelay.queue._replay import frame_at
from fastrelay.queue.files import Files
from fastrelay.queue.segment import Segment

_HEAD = 4096  # most envelopes are shorter
_WINDOW = MAX_PAYLOAD + HEADER


@dataclass(slots=True)
class _Place:
    """Where reading goes on: `step` is how much to read there at first."""

    segment: Segment
    offset: int
    step: int


class Reader:
    """Reads from one shard's segments."""

    def __init__(self, files: Files, segments: Mapping[int, Segment]) -> None:
        self._files = files
        self._segments = segments

    def envelope(self, entry: Entry) -> Envelope:
        parts: list[bytes] = []
        for kind, payload in self._frames(entry, min(entry.stored, _HEAD)):
            if kind != ENVELOPE:
                break
            parts.append(payload)
        return decode_envelope(parts[0] if len(parts) == 1 else b"".join(parts))

    def content(self, entry: Entry) -> list[bytes]:
        return self.message(entry)[1]

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """The contents, read as far as the caller goes."""
        for kind, payload in self._frames(entry, min(entry.stored, _WINDOW)):
            if kind == DATA:
                yield payload
            elif kind == COMMIT:
                return

    def message(self, entry: Entry) -> tuple[bytes, list[bytes]]:
        """(the envelope's payload, the contents)."""
        parts: list[bytes] = []
        content: list[bytes] = []
        for kind, payload in self._frames(entry, min(entry.stored, _WINDOW)):
            if kind == ENVELOPE:
                parts.append(payload)
            elif kind == DATA:
                content.append(payload)
            elif kind == COMMIT:
                if int.from_bytes(payload[:8], "little") != sum(map(len, content)):
                    raise CorruptRecord("its length is not what was written")
                break
        return b"".join(parts), content

    def notes(self, entry: Entry) -> dict[int, Outcome]:
        """The last durable outcome of each recipient that is not sent."""
        found: dict[int, Outcome] = {}
        for position, recipients in entry.note_positions().items():
            segment = self._segment(position >> 32)
            head = self._read(segment, position & 0xFFFFFFFF, _HEAD)
            frame = frame_at(head, 0, segment.salt)
            if frame is not None and HEADER + frame[2] > len(head):
                head = self._read(segment, position & 0xFFFFFFFF, HEADER + frame[2])
                frame = frame_at(head, 0, segment.salt)
            if frame is None or frame[0] != OUTCOME or not frame[4]:
                raise CorruptRecord("its reasons are damaged")
            outcomes = {o.recipient: o for o in decode_outcomes(head[HEADER : HEADER + frame[2]])}
            found.update((i, outcomes[i]) for i in recipients if i in outcomes)
        return found

    def _segment(self, number: int) -> Segment:
        try:
            return self._segments[number]
        except KeyError:
            raise CorruptRecord(f"segment {number:x} is not there") from None

    def _read(self, segment: Segment, offset: int, size: int) -> bytes:
        try:
            return self._files.pread(segment.fd, size, offset)
        except OSError as error:
            raise CorruptRecord(f"segment {segment.number:x} cannot be read: {error}") from error

    def _frames(self, entry: Entry, first: int) -> Iterator[tuple[int, bytes]]:
        """(type, payload) of the frames from its ENVELOPE on; the caller stops at COMMIT."""
        place: _Place | None = _Place(self._segment(entry.segment), entry.offset, first)
        while place is not None:
            data = self._read(place.segment, place.offset, place.step)
            pos = 0
            while (frame := frame_at(data, pos, place.segment.salt)) is not None:
                kind, _, length, message, right = frame
                end = pos + HEADER + length
                if end > len(data):
                    break
                if not right or (kind != BATCH and message != entry.message_id):
                    raise CorruptRecord("one of its frames is damaged")
                if kind != BATCH:
                    yield kind, data[pos + HEADER : end]
                pos = end
            place = self._next(place, pos, len(data), frame)
        raise CorruptRecord("its end is missing")

    def _next(
        self, place: _Place, pos: int, size: int, frame: tuple[int, int, int, int, bool] | None
    ) -> _Place | None:
        """Where to read on after what was read up to `pos`: more of this batch, the next batch, the next
        segment.
        """
        at = place.offset + pos
        cut = frame is not None or size - pos < HEADER
        if cut and size == place.step and (pos or place.step < _WINDOW):
            return _Place(place.segment, at, _WINDOW)
        aligned = (at + BLOCK - 1) // BLOCK * BLOCK
        if aligned != at and aligned < place.segment.size:
            return _Place(place.segment, aligned, _WINDOW)
        following = min((n for n in list(self._segments) if n > place.segment.number), default=None)
        return _Place(self._segments[following], BLOCK, _WINDOW) if following is not None else None
