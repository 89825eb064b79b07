"""The queue as a worker sees it: its shards behind one object.

Everything here runs on the loop's thread. `append` and `record` put frames into the log, `completed`
(to be called when `wake_fd` is readable) calls back for what is durable. Invariants: `done` is called only after the
fdatasync that covers the message; an outcome is in the index at once and in the log a batch later (window
W2, docs/queue-format.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from fastrelay.borders import Content, Envelope, Outcome, Status
from fastrelay.queue import queue_id
from fastrelay.queue._entry import Entry
from fastrelay.queue._format import (
    CORRUPT,
    FORCED_EXPIRE,
    REMOVED,
    SETTLED,
    CorruptRecord,
    State,
)
from fastrelay.queue._index import Index
from fastrelay.queue._record import Record, message_record
from fastrelay.queue.commit import Committer
from fastrelay.queue.compact import Cleaner
from fastrelay.queue.files import FILES, Files
from fastrelay.queue.pace import Pace
from fastrelay.queue.patience import Patience
from fastrelay.queue.reader import Reader
from fastrelay.queue.recover import Quarantine, ReadBuffers, Recovery, open_shard
from fastrelay.queue.segment import Preparer, Segment
from fastrelay.queue.settings import QueueSettings
from fastrelay.queue.shard import Issued, Shard
from fastrelay.queue.space import SpaceCheck

OUTCOME_DELAY = 0.010  # seconds that outcomes wait for a batch to go with, from the tick after them
ENDED, SENT = State.DONE, Status.SENT  # a look at an enumeration costs more than the comparison
_STAY = 4  # segments in use up to which new mail stays with its shard
_DRAIN = 10.0  # seconds that a stop waits for segments
_RETRY = 1.0  # seconds between attempts to make a segment on a full disk

_T = TypeVar("_T")

Appended = Callable[[Entry | None], None]
"""Called when a message is durable; with None when the disk is full (452 4.3.1) and it was not stored."""
Settles = Sequence[int]
"""What a notice tells of a message: its recipients that ended, DELAY_TOLD, EXPANSION_TOLD."""


class SpoolLocked(Exception):
    """Another process has the shard."""


class Spool:
    """See the module's text; `critical` is told what damage was found."""

    def __init__(
        self,
        directory: int,
        shards: Iterable[int],
        settings: QueueSettings,
        fatal: Callable[[str], None],
        files: Files = FILES,
        critical: Callable[[str], None] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.entries: Index[Entry] = Index()
        self.problems: list[str] = []
        self._settings = settings
        self._files = files
        self._directory = directory
        self._numbers = tuple(shards)
        if not self._numbers or not all(0 <= n < 1 << queue_id.SHARD_BITS for n in self._numbers):
            raise ValueError(f"shards {self._numbers}")
        self._critical = critical if critical is not None else self.problems.append
        self._committer = Committer(files, fatal, lambda shard: self._cleaner.want_spares(shard, 2), pace)
        self._preparer = Preparer(self._committer.fail)
        self._cleaner = Cleaner(
            files,
            settings.fastrelay_relocation_rate,
            self.entries,
            self._committer,
            self._preparer,
            self.read_notes,
            self.set_aside,
        )
        self.patience = Patience(self._committer, settings.fastrelay_commit_deadline)
        self.space = SpaceCheck(settings, files, directory)
        self._quarantine = Quarantine(files, directory)
        self._shards: dict[int, Shard] = {}
        self._all: list[Shard] = []
        self._current = 0  # index of the shard that new mail goes to
        self._newest = 0
        self._lost: list[int] = []
        self._settle_again: list[tuple[int, Settles]] = []
        self._lazy: list[Shard] = []
        self._unwritten: dict[int, dict[int, Outcome]] = {}  # outcomes whose frames are not durable yet
        self._retry_at = 0.0
        self._running = False

    # --- start and stop

    def recover(self) -> list[str]:
        """Replay the shards, before anything listens. What was found damaged is to be logged as critical."""
        for number in self._numbers:
            shard = open_shard(
                self._files, self._directory, number, self._settings.fastrelay_segment_size, SpoolLocked
            )
            self._shards[number] = shard
            self._all.append(shard)
        notices: list[tuple[int, Settles]] = []
        buffers = ReadBuffers()
        for shard in self._all:
            recovery = Recovery(shard, self._files, self._quarantine, buffers)
            recovery.run()
            self.entries.update(recovery.replay.entries)
            self._newest = max(self._newest, recovery.replay.newest >> queue_id.SHARD_BITS)
            notices += recovery.replay.notices
            self._lost += recovery.lost
            self.problems += recovery.problems
        for message, recipients in notices:
            self._settle_noticed(message, recipients)
        return self.problems

    def start(self) -> None:
        """Begin to write. What recovery found is recorded, so that it is found once."""
        self._committer.start()
        self._preparer.start()
        self._running = True
        for message, recipients in self._settle_again:
            self._add_list(message, SETTLED, recipients)
        for message in self._lost:
            shard = self._shards[queue_id.shard_of(message)]
            self._committer.outcomes(shard).add_lost(message)
            self._make_lazy(shard)
        self._settle_again, self._lost = [], []
        for shard in self._all:
            if shard.used:
                self._cleaner.want_spares(shard, 1)
                self._cleaner.retire(shard)
        self._warm_up(self._current)

    def stop(self) -> None:
        """Write what waits, call back for it, end the threads. A clean stop vouches for the last batches."""
        if self._running:
            self._drain()
            self._running = False
            self._committer.stop()
            self._preparer.stop()
            self.completed()
            if not self._committer.failed:
                for shard in self._all:
                    shard.vouch()
        for shard in self._all:
            shard.close_direct()
            for segment in [*shard.segments.values(), *shard.spares, shard.current]:
                if segment is not None and segment.fd >= 0:
                    self._files.close(segment.fd)
                    segment.fd = -1
            self._files.close(shard.directory)
        self._committer.close()
        self._all, self._shards = [], {}

    def _drain(self) -> None:
        """Until nothing waits but what has no room."""
        limit = time.monotonic() + _DRAIN
        self._lazy = []
        self._committer.hurry()
        for shard in self._all:
            self._committer.kick(shard)
        while time.monotonic() < limit and not self._committer.failed:
            self.completed()
            if not any((shard.pending or shard.queue) and not shard.full for shard in self._all):
                return
            time.sleep(0.002)

    # --- new mail

    def new_id(self, now: float, beside: int = 0) -> int:
        """A number that no message had, and that names its shard: that of `beside`, or the one for new mail."""
        moment = int(now * 1_000_000)
        self._newest = moment if moment > self._newest else self._newest + 1
        shard = self._shards[beside & 0xFF] if beside else self._all[self._current]
        return self._newest << 8 | shard.number

    def append(
        self, message_id: int, envelope: Envelope, content: Content, done: Appended, hold: bool = False
    ) -> Record:
        """Store a message; `done` is called when it is durable. The record's cancel() drops it while it
        waits.
        """
        shard = self._shards[message_id & 0xFF]
        record = message_record(message_id, envelope, content, done, shard.chunk, (), hold)
        self._committer.put(shard, record)
        return record

    def append_notice(
        self, message_id: int, envelope: Envelope, content: Content, settles: Settles, done: Appended
    ) -> Record:
        """As append; what `settles` has of `envelope.notice_of` ends with it, now and on replay."""
        if envelope.notice_of not in self.entries:
            settles = ()
        shard = self._shards[message_id & 0xFF]
        settled = partial(self._notice_appended, envelope.notice_of, settles, done)
        record = message_record(message_id, envelope, content, settled, shard.chunk, settles)
        record.patient = True
        self._committer.put(shard, record)
        return record

    def has_room(self, size: int) -> bool:
        """May a message of `size` bytes be received (0: size not known)? 452 4.3.1 if not."""
        shard = self._all[self._current]
        if shard.full and shard.intake_room() < max(size, 1) + shard.segment_size // 16:
            return False
        return self.space.has_room(size)

    def give_up(self, now: float) -> int:
        """To be called each second: `done(None)` to those that a hanging disk lets wait; how many."""
        return self.patience.give_up(self._all, now)

    @property
    def can_record(self) -> bool:
        """False: outcomes cannot be written for want of room; deliveries must stop until they can."""
        return not any(
            shard.full and not shard.spares and (shard.pending or shard.queue) for shard in self._all
        )

    # --- what becomes of a message

    def record(self, entry: Entry, outcomes: Sequence[Outcome], next_try: float = 0.0) -> None:
        """Verdicts of a delivery; `next_try` ends a round of tries: the message is deferred until then."""
        if entry.has_ended():
            return
        shard = self._shards[entry.message_id & 0xFF]
        ended = self._committer.outcomes(shard).add_outcomes(entry, outcomes, next_try)
        if not shard.lazy_since:
            self._make_lazy(shard)
        for outcome in outcomes:
            if outcome.status is not SENT or outcome.notice:
                self._unwritten.setdefault(entry.message_id, {})[outcome.recipient] = outcome
        if ended:
            self._ended(entry, shard)

    def settle(self, entry: Entry, recipients: Settles) -> None:
        """They end without a notice."""
        if entry.state is not ENDED and entry.changed_by(recipients):
            self._add_list(entry.message_id, SETTLED, recipients)
            if entry.settled(recipients):
                self._ended(entry, self._shards[entry.message_id & 0xFF])

    def hold(self, entry: Entry) -> None:
        self._set_state(entry, State.HOLD, entry.next_try)

    def release(self, entry: Entry) -> None:
        """From hold to deferred, due at once (postsuper -H)."""
        self._set_state(entry, State.DEFERRED, 0.0)

    def requeue(self, entry: Entry) -> None:
        """As if it had just arrived (postsuper -r)."""
        self._set_state(entry, State.INCOMING, 0.0)

    def expire(self, entry: Entry) -> None:
        """It goes back to its sender with its next try (postsuper -e)."""
        self.settle(entry, [FORCED_EXPIRE])

    def remove(self, entry: Entry) -> None:
        """Without a notice (postsuper -d)."""
        self._end(entry, REMOVED)

    def set_aside(self, entry: Entry, reason: str) -> None:
        """Its frames are damaged: keep the segment in corrupt/, go on without the message."""
        if entry.state is ENDED:
            return
        shard = self._shards[entry.message_id & 0xFF]
        kept = self._quarantine.keep(shard, entry.segment)
        self._critical(f"queue message {entry.message_id:X} is damaged: {reason}; {kept}")
        self._end(entry, CORRUPT)
        entry.state = State.CORRUPT

    # --- reading back

    def read_envelope(self, entry: Entry) -> Envelope:
        """CorruptRecord: it is damaged, and has been set aside."""
        return self._checked(entry, self._reader(entry).envelope)

    def read_content(self, entry: Entry) -> list[bytes]:
        """CorruptRecord: it is damaged, and has been set aside."""
        return self._checked(entry, self._reader(entry).content)

    def read_as_far(self, entry: Entry, take: Callable[[Iterable[bytes]], bytes]) -> bytes:
        """What `take` makes of the contents, which are read as far as it goes. CorruptRecord as above."""
        return self._checked(entry, lambda each: take(self._reader(each).pieces(each)))

    def read_notes(self, entry: Entry) -> dict[int, Outcome]:
        """Why recipients are still here: the last outcome of each that is deferred, or owed a notice."""
        notes = self._reader(entry).notes(entry)
        notes.update(self._unwritten.get(entry.message_id, {}))
        return notes

    def _reader(self, entry: Entry) -> Reader:
        return Reader(self._files, self._shards[entry.message_id & 0xFF].segments)

    def _checked(self, entry: Entry, read: Callable[[Entry], _T]) -> _T:
        try:
            return read(entry)
        except CorruptRecord as error:
            self.set_aside(entry, str(error))
            raise

    # --- what the threads report

    @property
    def wake_fd(self) -> int:
        """Becomes readable when `completed` has something to do; `completed` reads it."""
        return self._committer.wake_fd

    def completed(self) -> None:
        """Call back for what is durable now. The owner calls it on the loop's thread when `wake_fd` is readable."""
        for done in self._committer.take():
            if isinstance(done, Issued):
                self._batch_done(done)
            else:
                done()

    def _batch_done(self, done: Issued) -> None:
        shard, segment = done.shard, done.segment
        if segment is not None and segment.number not in shard.segments:
            self._segment_begun(shard)
            shard.segments[segment.number] = segment
        if segment is not None and done.batch is not None and done.batch.offset * 2 > segment.size:
            self._warm_next(shard, segment)
        shard.floor = done.floor
        for record in done.batch.records if done.batch is not None else ():
            entry = record.entry
            if entry is None:
                self._forget_written(record)
            elif record.relocation:
                self._cleaner.moved(shard, entry, shard.segments[record.segment], record.moved)
                self._forget_written(record)
            else:
                self._appended(shard, entry, record)
        for record in done.refused:
            if record.relocation:
                self._cleaner.refused(record.entry)
            else:
                record.report(None)
        if self._running:
            self._cleaner.retire(shard)

    def _appended(self, shard: Shard, entry: Entry, record: Record) -> None:
        record.publish()
        self.entries.put(entry.message_id, entry)
        segment = shard.segments[entry.segment]
        segment.live += 1
        segment.live_bytes += entry.stored
        if record.late:
            self._end(entry, REMOVED)
        record.report(entry)

    def _notice_appended(self, message: int, settles: Settles, done: Appended, entry: Entry | None) -> None:
        if entry is not None and settles:
            self._settle_noticed(message, settles)
            self._flush_settled()
        done(entry)

    def _settle_noticed(self, message: int, recipients: Settles) -> None:
        """A notice is durable: these recipients of the message that it is about have ended."""
        entry = self.entries.get(message)
        if entry is None or not entry.changed_by(recipients):
            return
        self._settle_again.append((message, recipients))
        if entry.settled(recipients):
            self._ended(entry, self._shards[message & 0xFF])

    def _flush_settled(self) -> None:
        for message, recipients in self._settle_again:
            self._add_list(message, SETTLED, recipients)
        self._settle_again = []

    def _forget_written(self, record: Record) -> None:
        for entry, outcomes in record.written_notes():
            waiting = self._unwritten.get(entry.message_id)
            if waiting is None:
                continue
            for outcome in outcomes:
                if waiting.get(outcome.recipient) is outcome:
                    del waiting[outcome.recipient]
            if not waiting or entry.state is ENDED:
                del self._unwritten[entry.message_id]

    def _segment_begun(self, shard: Shard) -> None:
        """A spare was taken. New mail stays with a shard that drains, so that its segments are written over
        again and again; one that fills up leaves it to the next.
        """
        if shard is self._all[self._current] and not self._fills_up(shard):
            self._cleaner.want_spares(shard, 2 if shard.queue else 1)  # the other when this one is half full
            return
        if shard is self._all[self._current]:
            shard.wanted_spares = 2 if shard.queue else 1  # mail that goes on may not take the last
            self._current = (self._current + 1) % len(self._all)
            self._warm_up(self._current)
        self._cleaner.want_spares(shard, max(1, shard.wanted_spares))

    def _fills_up(self, shard: Shard) -> bool:
        return len(shard.segments) >= _STAY and len(self._all) > 1

    def _warm_up(self, index: int) -> None:
        """A shard for new mail has a segment and a reserve."""
        self._cleaner.want_spares(self._all[index], 2)

    def _warm_next(self, shard: Shard, segment: Segment) -> None:
        """The segment for new mail is half full: make the next one ready, if none has come free meanwhile."""
        if shard is not self._all[self._current] or shard.warmed == segment.number:
            return
        shard.warmed = segment.number
        following = (self._current + 1) % len(self._all) if self._fills_up(shard) else self._current
        self._warm_up(following)

    # --- the timer

    @property
    def wants_tick(self) -> bool:
        """Is there something that `tick` is to see to?"""
        return bool(self._lazy) or any(shard.full for shard in self._all) or self._cleaner.wants(self._all)

    def tick(self, now: float) -> None:
        """To be called every 10 to 20 ms of a monotonic clock while `wants_tick`."""
        if self._lazy:
            self._lazy = [shard for shard in self._lazy if not self._flushed(shard, now)]
        if now >= self._retry_at:
            self._retry_at = now + _RETRY
            for shard in self._all:
                if shard.full:
                    self._cleaner.want_spares(shard, shard.wanted_spares)
        self._cleaner.tick(now, self._all)

    def flush(self) -> None:
        """Write outcomes now."""
        for shard in self._lazy:
            shard.lazy_since = 0.0
            self._committer.kick(shard)
        self._lazy = []

    def _flushed(self, shard: Shard, now: float) -> bool:
        """Have the outcomes of the shard gone with a batch, or waited long enough to start one?"""
        if shard.pending:
            if shard.lazy_since < 0.0:
                shard.lazy_since = now
            if now - shard.lazy_since < OUTCOME_DELAY:
                return False
            self._committer.kick(shard)
        shard.lazy_since = 0.0
        return True

    def _make_lazy(self, shard: Shard) -> None:
        if not shard.lazy_since:
            shard.lazy_since = -1.0  # the next tick knows the time
            self._lazy.append(shard)

    # --- small things

    def _add_list(self, message: int, kind: int, recipients: Settles) -> None:
        shard = self._shards[message & 0xFF]
        self._committer.outcomes(shard).add_list(kind, message, recipients)
        self._make_lazy(shard)

    def _set_state(self, entry: Entry, state: State, next_try: float) -> None:
        if entry.state is ENDED:
            return
        shard = self._shards[entry.message_id & 0xFF]
        self._committer.outcomes(shard).add_state(entry, state, next_try)
        self._make_lazy(shard)

    def _end(self, entry: Entry, kind: int) -> None:
        if entry.state is ENDED:
            return
        shard = self._shards[entry.message_id & 0xFF]
        self._committer.outcomes(shard).add_end(entry, kind)
        self._make_lazy(shard)
        self._ended(entry, shard)

    def _ended(self, entry: Entry, shard: Shard) -> None:
        """Nothing is pending or failed: out of the index; its segment may be free now."""
        if self.entries.pop(entry.message_id) is None:
            return
        segment = shard.segments.get(entry.segment)
        if segment is None:
            return
        segment.live -= 1
        segment.live_bytes -= entry.stored
        if not segment.live and self._running:
            self._cleaner.retire(shard)
