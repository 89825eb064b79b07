"""Replay of a shard at start: docs/queue-format.md, "What a crash leaves".

Spool.recover calls it before anything listens. It reads past the page cache, changes nothing but a torn
tail (zeros) and leftovers (*.tmp), and may be cut and repeated at any point. What it finds wrong becomes
a line in `problems`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fastrelay.queue._format import BLOCK, MAX_BATCH, CorruptRecord
from fastrelay.queue._replay import Replay
from fastrelay.queue.files import Files, write_all
from fastrelay.queue.segment import Segment, file_name, number_of, read_header
from fastrelay.queue.shard import Shard

_STEP = 4 << 20  # bytes of a read
_WINDOW = BLOCK + 2 * MAX_BATCH  # where the first batch of a segment in use begins, at the latest


class Quarantine:
    """The directory `corrupt`, made when it is first needed. What cannot be kept, for want of room as a rule, must not
    keep the rest from being used: both say what became of it.
    """

    def __init__(self, files: Files, root: int) -> None:
        self._files = files
        self._root = root

    def keep(self, shard: Shard, number: int) -> str:
        """A second name for what is in the segment, for when it is cleaned."""
        name = self._name(shard, number)
        try:
            with self._directory() as target, contextlib.suppress(FileExistsError):  # set aside before
                self._files.link(file_name(number), name, dir_fd=shard.directory, new_dir_fd=target)
                self._files.fsync(target)
        except OSError as error:
            return f"not linked to corrupt/: {error}"
        return "linked to corrupt/"

    def move(self, shard: Shard, number: int) -> str:
        """Take a file that is no segment of this shard out of it."""
        name = self._name(shard, number)
        try:
            with self._directory() as target:
                self._files.rename(file_name(number), name, dir_fd=shard.directory, new_dir_fd=target)
                self._files.fsync(target)
                self._files.fsync(shard.directory)
        except OSError as error:
            return f"not moved to corrupt/: {error}"
        return "moved to corrupt/"

    @staticmethod
    def _name(shard: Shard, number: int) -> str:
        return f"{shard.number:02x}-{file_name(number)}"

    @contextlib.contextmanager
    def _directory(self) -> Iterator[int]:
        with contextlib.suppress(FileExistsError):
            self._files.mkdir("corrupt", dir_fd=self._root)
            self._files.fsync(self._root)
        target = self._files.open("corrupt", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root)
        try:
            yield target
        finally:
            self._files.close(target)


class ReadBuffers:
    """Two segments in memory, for all shards in turn: fresh memory for each costs as much as reading it."""

    def __init__(self) -> None:
        self._buffers = [mmap.mmap(-1, BLOCK) for _ in range(2)]  # aligned, and no memory until used

    def take(self, size: int, kept: memoryview) -> memoryview:
        """`size` bytes that are not those of `kept`."""
        which = 1 if kept.obj is self._buffers[0] else 0
        if len(self._buffers[which]) < size:
            self._buffers[which] = mmap.mmap(-1, size)
        return memoryview(self._buffers[which])[:size]


@dataclass(slots=True, eq=False)
class Recovery:
    """One shard's replay. `lost`: messages that were acknowledged and cannot be read whole."""

    shard: Shard
    files: Files
    quarantine: Quarantine
    buffers: ReadBuffers
    replay: Replay = field(default_factory=Replay)
    problems: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    end: int = BLOCK  # of the last batch of the last segment in use
    last: Segment | None = None
    data: memoryview = field(default_factory=lambda: memoryview(b""))  # of `last`
    segments: list[Segment] = field(default_factory=list)

    def run(self) -> None:
        """Fill the shard and `replay`. OSError: the disk fails; NewerFormat: a later version wrote this."""
        self._open_all()
        for segment in self.segments:
            self._scan(segment)
        self.replay.end()
        self._report_lost()
        self._hand_over()

    def _problem(self, segment_number: int, text: str) -> None:
        self.problems.append(f"queue shard {self.shard.number:02x} segment {segment_number:x}: {text}")

    def _open_all(self) -> None:
        shard = self.shard
        for name in sorted(self.files.names(shard.directory)):
            number = number_of(name)
            if name.endswith(".tmp"):
                self.files.unlink(name, dir_fd=shard.directory)
            if number is None:
                continue
            shard.next_number = max(shard.next_number, number + 1)
            self._open(number)

    def _open(self, number: int) -> None:
        try:
            fd = self.files.open(file_name(number), os.O_RDWR, dir_fd=self.shard.directory)
        except OSError as error:
            self._problem(number, f"cannot be opened: {error}")
            return
        try:
            self.files.drop_cache(fd)
            salt, size = read_header(self.files, fd, self.shard.number, number)
            actual = self.files.size(fd)
        except CorruptRecord as error:
            self.files.close(fd)
            self._problem(number, f"{error}; {self.quarantine.move(self.shard, number)}")
            return
        except OSError as error:
            self.files.close(fd)
            self._problem(number, f"cannot be read: {error}")
            return
        if actual < size:
            self._problem(number, f"has {actual} bytes of {size}")
            size = actual // BLOCK * BLOCK  # so that nothing more is written where the file ends
        self.segments.append(Segment(number, fd, salt, size))

    def _read(self, segment: Segment, view: memoryview, pos: int) -> bool:
        """Fill `view` with the segment, from `pos` on, which begins a block; False: it cannot be read."""
        direct = -1
        with contextlib.suppress(OSError):  # then the page cache's way says what is wrong, if anything is
            direct = self.files.open_direct(file_name(segment.number), dir_fd=self.shard.directory)
            pos = self._fill(direct, view, pos) if direct >= 0 else pos
        if direct >= 0:
            self.files.close(direct)
        try:
            self._fill(segment.fd, view, pos)
        except OSError as error:
            self._problem(segment.number, f"cannot be read: {error}")
            return False
        return True

    def _fill(self, fd: int, view: memoryview, pos: int) -> int:
        """Up to the end of `view` or of the file; how far."""
        while pos < len(view):
            step = self.files.preadv(fd, [view[pos : pos + _STEP]], pos)
            if step <= 0:
                break
            pos += step
        return pos

    def _scan(self, segment: Segment) -> None:
        """Replay what is in this segment, and settle what the end of the one before was."""
        size = min(segment.size + BLOCK, self.files.size(segment.fd))
        data = self.buffers.take(size, self.data)
        head = data[:_WINDOW]
        if not self._read(segment, head, 0) or self.replay.find(head, BLOCK, len(head), segment.salt) < 0:
            return  # never written, or a torn first batch
        if not self._read(segment, data, len(head)):
            return
        pos = BLOCK
        while True:
            pos = self._batches(segment, data, pos)
            following = self.replay.find(data, pos + BLOCK, len(data), segment.salt)
            if following < 0:
                break
            self._continue_at(segment, data, following, damaged=True)
            self._damage(segment, data, pos, following)
            pos = following
        if self.last is segment:
            self.end = pos

    def _batches(self, segment: Segment, data: memoryview, pos: int) -> int:
        """Replay whole batches; where they end."""
        while True:
            found = self.replay.batch_at(data, pos, segment.salt)
            if found is None or not self.replay.whole(data, pos, segment.salt):
                return pos
            number, first, size, _ = found
            self._continue_at(segment, data, pos)
            before = self.replay.sequence
            if self.replay.number and (number != self.replay.number + 1 or first != before + 1):
                self._problem(segment.number, f"frames {before + 1} to {first - 1} are missing before it")
            damaged = len(self.replay.damaged)
            self.replay.apply(data, pos, segment.number)
            if len(self.replay.damaged) > damaged:
                kept = self.quarantine.keep(self.shard, segment.number)
                self._problem(segment.number, f"has damaged messages; {kept}")
            pos += size

    def _continue_at(self, segment: Segment, data: memoryview, pos: int, damaged: bool = False) -> None:
        """The log goes on here: was the rest of the last segment unused, or is it damaged?"""
        if self.last is segment:
            return
        found = self.replay.batch_at(data, pos, segment.salt)
        lacks = found is not None and found[0] > self.replay.number + 1 and not damaged
        if self.last is not None and lacks:
            self._damage(self.last, self.data, self.end, len(self.data))
        self.last, self.data, self.end = segment, data, BLOCK

    def _damage(self, segment: Segment, data: memoryview, start: int, end: int) -> None:
        """Frames between two durable batches are not right: use what is, set the segment aside."""
        first = self.replay.sequence + 1
        self.replay.salvage(data, start, end, segment.salt, segment.number)
        kept = self.quarantine.keep(self.shard, segment.number)
        self._problem(
            segment.number,
            f"damage between {start} and {end}, from frame {first} on; {kept}, the rest is used",
        )

    def _report_lost(self) -> None:
        for message, reason in self.replay.damaged.items():
            if message not in self.replay.entries:
                self.lost.append(message)
                self.problems.append(f"queue message {message:X} is damaged: {reason}")
        self.problems.extend(
            f"queue message {message:X}: an outcome is damaged, it may be sent more than once"
            for message in self.replay.repeats
            if message in self.replay.entries
        )

    def _hand_over(self) -> None:
        """The shard goes on where the log ends."""
        shard = self.shard
        last = self.last.number if self.last is not None else 0
        if self.last is not None:
            self._clear(self.last, self.end)
            shard.current, shard.offset, shard.floor = self.last, self.end, last
        shard.batch_number, shard.sequence = self.replay.number, self.replay.sequence
        shard.durable = (last, self.end)
        shard.segments = {s.number: s for s in self.segments if s.number <= last}
        for spare in self.segments:
            if spare.number > last:
                self._keep_spare(spare, first=not shard.spares)
        for entry in self.replay.entries.values():
            segment = shard.segments[entry.segment]
            segment.live += 1
            segment.live_bytes += entry.stored

    def _keep_spare(self, spare: Segment, first: bool) -> None:
        if spare.size < self.shard.segment_size:  # truncated, or made under a smaller fastrelay_segment_size
            self.files.close(spare.fd)
            self.files.unlink(file_name(spare.number), dir_fd=self.shard.directory)
            return
        if first:
            self._clear(spare, BLOCK)  # a batch that began this segment may be torn
        self.shard.spares.append(spare)

    def _clear(self, segment: Segment, pos: int) -> None:
        """Zero where a torn batch can be, so that no later start finds its frames."""
        size = min(MAX_BATCH, segment.size - pos)
        zeros = bytes(max(0, size))
        if self.files.pread(segment.fd, len(zeros), pos) == zeros:
            return
        write_all(self.files, segment.fd, [zeros], pos)
        self.files.fdatasync(segment.fd)


def open_shard(
    files: Files, root: int, number: int, segment_size: int, busy: Callable[[str], Exception]
) -> Shard:
    """The shard's directory, made if need be, and locked; raises what `busy` makes when another process has
    it.
    """
    name = f"{number:02x}"
    with contextlib.suppress(FileExistsError):
        files.mkdir(name, dir_fd=root)
        files.fsync(root)
    directory = files.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        files.lock(directory)
    except BlockingIOError:
        files.close(directory)
        raise busy(f"queue shard {name} is in use by another process") from None
    return Shard(number, directory, segment_size, files)
