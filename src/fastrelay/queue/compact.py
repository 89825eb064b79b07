"""Cleaning: segments go strictly oldest first; what pins the oldest is written again at the end.

Called by the spool on the loop's thread; files are removed, recycled and read by the preparer's thread.
Invariant: a segment goes only when it is the oldest and no live message begins in it, so an outcome never
vanishes before its message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fastrelay.borders import Outcome
from fastrelay.queue._entry import Entry, entries_in
from fastrelay.queue._envelope import decode_envelope
from fastrelay.queue._format import CorruptRecord
from fastrelay.queue._index import Index
from fastrelay.queue._record import copy_record
from fastrelay.queue.commit import Committer
from fastrelay.queue.files import Files
from fastrelay.queue.reader import Reader
from fastrelay.queue.segment import NoRoom, Preparer, Segment, is_copy_on_write, prepare, recycle, remove
from fastrelay.queue.shard import Shard

KEPT_SEGMENTS = 4  # a shard with no more is left alone
_SPARES = 2  # free segments that a shard keeps
_GROUP = 256 * 1024  # bytes read at once for relocation
Notes = dict[int, Outcome]


class Cleaner:
    """Makes spares, retires and relocates."""

    def __init__(
        self,
        files: Files,
        rate: int,
        entries: Index[Entry],
        committer: Committer,
        preparer: Preparer,
        notes: Callable[[Entry], Notes],
        set_aside: Callable[[Entry, str], None],
    ) -> None:
        self._files = files
        self._rate = rate
        self._entries = entries
        self._committer = committer
        self._preparer = preparer
        self._notes = notes
        self._set_aside = set_aside
        self._moving: dict[int, Segment] = {}  # message -> the segment that it leaves
        self._victims: list[Entry] = []
        self._shard: Shard | None = None
        self._reading = False
        self._allowance = 0.0
        self._last_tick = 0.0

    def want_spares(self, shard: Shard, count: int) -> None:
        """Have the shard keep `count` spares from now on. From any thread."""
        shard.wanted_spares = count
        if len(shard.spares) < shard.wanted_spares:
            self._preparer.submit(partial(self._make_spares, shard))

    def retire(self, shard: Shard) -> None:
        """Let go of the oldest segments that nobody needs."""
        while shard.segments:
            oldest = shard.segments[min(shard.segments)]
            if oldest.live or oldest.number >= shard.floor:
                return
            del shard.segments[oldest.number]
            self._preparer.submit(partial(self._release, shard, oldest))

    def _release(self, shard: Shard, old: Segment) -> None:
        """On the preparer's thread, in order."""
        unwanted = len(shard.spares) >= _SPARES or old.size != shard.segment_size
        if unwanted or self._files.links(old.fd) > 1 or is_copy_on_write(self._files, shard.directory):
            remove(self._files, shard.directory, old)
            return
        self._add_spare(shard, recycle(self._files, shard.directory, shard.number, old, shard.next_number))

    def _make_spares(self, shard: Shard) -> None:
        """On the preparer's thread."""
        while len(shard.spares) < shard.wanted_spares:
            try:
                made = prepare(
                    self._files, shard.directory, shard.number, shard.next_number, shard.segment_size
                )
            except NoRoom:
                shard.full = True
                self._committer.deliver(partial(self._committer.kick, shard))
                return
            self._add_spare(shard, made)

    def _add_spare(self, shard: Shard, segment: Segment) -> None:
        shard.next_number = segment.number + 1
        shard.spares.append(segment)
        shard.full = False
        self._committer.deliver(partial(self._committer.kick, shard))

    def tick(self, now: float, shards: list[Shard]) -> None:
        """Relocate within the budget; called every 10 to 20 ms while there is work."""
        passed = min(1.0, now - self._last_tick) if self._last_tick else 0.0
        self._last_tick = now
        self._allowance = min(self._allowance + passed * self._rate, self._rate)
        if self._reading or self._allowance <= 0:
            return
        if not self._victims and not self._moving:
            self._choose(shards)
        if self._victims and self._shard is not None and not self._shard.full:
            self._read_next(self._shard)

    def wants(self, shards: list[Shard]) -> bool:
        """Is there something to relocate?"""
        return bool(self._victims or self._moving) or any(map(_wants_relocation, shards))

    def _choose(self, shards: list[Shard]) -> None:
        for shard in shards:
            if _wants_relocation(shard):
                self._shard = shard
                of_shard = (e for e in self._entries.values() if e.message_id & 0xFF == shard.number)
                self._victims = entries_in(of_shard, min(shard.segments))
                return

    def _read_next(self, shard: Shard) -> None:
        """Have some of the victims read."""
        group: list[Entry] = []
        size = 0
        while self._victims and size < _GROUP:
            entry = self._victims.pop()
            segment = shard.segments.get(entry.segment)
            if entry.message_id in self._entries and segment is not None and segment.number < shard.floor:
                group.append(entry)
                size += entry.stored
        if group:
            self._allowance -= size
            self._reading = True
            self._preparer.submit(partial(self._read, shard, group, dict(shard.segments)))

    def _read(self, shard: Shard, group: list[Entry], segments: dict[int, Segment]) -> None:
        """On the preparer's thread."""
        reader = Reader(self._files, segments)
        found: list[tuple[Entry, bytes, list[bytes] | str]] = []
        for entry in group:
            try:
                found.append((entry, *reader.message(entry)))
            except CorruptRecord as error:
                found.append((entry, b"", str(error)))
        self._committer.deliver(partial(self._write, shard, found))

    def _write(self, shard: Shard, found: list[tuple[Entry, bytes, list[bytes] | str]]) -> None:
        """Append the copies of those that have not ended meanwhile; outcomes that come later apply to the
        copies.
        """
        self._reading = False
        for entry, envelope, content in found:
            if entry.message_id not in self._entries:
                continue
            if isinstance(content, str):
                self._set_aside(entry, content)
            else:
                self._append(shard, entry, envelope, content)
        if self._victims and self._allowance > 0 and not shard.full:
            self._read_next(shard)

    def _append(self, shard: Shard, entry: Entry, envelope: bytes, content: list[bytes]) -> None:
        try:
            notes = list(self._notes(entry).values())
        except CorruptRecord:
            notes = []  # its reasons are for mailq; the message itself is whole
        record = copy_record(entry, decode_envelope(envelope), notes, content, shard.chunk)
        self._moving[entry.message_id] = shard.segments[entry.segment]
        self._committer.put(shard, record)

    def moved(self, shard: Shard, entry: Entry, new: Segment, place: Callable[[], None]) -> None:
        """The copy is durable."""
        old = self._moving.pop(entry.message_id, None)
        if old is None or entry.message_id not in self._entries:
            return
        old.live -= 1
        old.live_bytes -= entry.stored
        place()
        new.live += 1
        new.live_bytes += entry.stored

    def refused(self, entry: Entry) -> None:
        """There was no room for the copy."""
        self._moving.pop(entry.message_id, None)


def _wants_relocation(shard: Shard) -> bool:
    if len(shard.segments) <= KEPT_SEGMENTS:
        return False
    oldest = shard.segments[min(shard.segments)]
    if oldest.number >= shard.floor or shard.full:
        return False
    live = sum(segment.live_bytes for segment in shard.segments.values())
    return live * 2 < len(shard.segments) * shard.segment_size or oldest.live_bytes * 4 < oldest.size
