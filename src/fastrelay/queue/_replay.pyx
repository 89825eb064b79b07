"""What the log says when it is read again: its frames in their order give the entries. docs/queue-format.md has the rules.

Called by recover.py (Replay), and by reader.py (frame_at) for one message. Invariant: everything read from a disk is
bounded and checked before it is used; a damaged message is in `damaged`, and no damage raises more than
NewerFormat, which stops the start.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastrelay.queue._checksum cimport checksum
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._envelope cimport read_entry, read_fixed, read_indices, read_settles
from fastrelay.queue._format cimport (
    BATCH, BATCH_SIZE, BLOCK, COMMIT, CORRUPT, DATA, DONE, ENVELOPE, HEADER, MAGIC, MAX_BATCH, MORE, OUTCOME,
    RELOCATED, REMOVED, R_DEFERRED, SETTLED, STATE, S_ACTIVE, S_DEFERRED, S_HOLD, S_INCOMING, fr_batch, fr_commit,
    fr_envelope, fr_header, fr_outcome, fr_state, header_ok,
)
from fastrelay.queue._outcome cimport outcome_size
from fastrelay.queue._format import CorruptRecord, NewerFormat


def frame_at(const unsigned char[::1] data, Py_ssize_t pos, uint64_t salt):
    """(type, flags, length, message, payload is whole and right), or None: no frame begins there."""
    cdef fr_header header
    cdef bint right = False
    if pos < 0 or data.shape[0] - pos < HEADER:
        return None
    memcpy(&header, &data[pos], HEADER)
    if not header_ok(&header, salt):
        return None
    if <Py_ssize_t>header.length <= data.shape[0] - pos - HEADER:
        right = header.payload_crc == checksum(0, &data[pos] + HEADER, header.length)
    return header.type, header.flags, header.length, header.message, right


cdef bint batch_ok(const uint8_t *at, Py_ssize_t left, uint64_t salt, fr_batch *body) noexcept nogil:
    """Does a BATCH frame begin here, whose batch can be in what is left?"""
    cdef fr_header header
    if left < BATCH_SIZE:
        return False
    memcpy(&header, at, HEADER)
    if header.magic != MAGIC or header.type != BATCH or header.length != sizeof(fr_batch):
        return False
    if not header_ok(&header, salt) or header.payload_crc != checksum(0, at + HEADER, header.length):
        return False
    memcpy(body, at + HEADER, sizeof(fr_batch))
    return BATCH_SIZE <= body.bytes <= MAX_BATCH and body.first == header.sequence


@cython.final
cdef class Replay:
    """The state of one shard, from its frames in their order. recover.py feeds it batch by batch."""

    cdef readonly dict entries
    cdef readonly dict damaged  # message -> what is wrong; it was acknowledged and is not whole
    cdef readonly list notices  # (message, recipients that its notice settles)
    cdef readonly list repeats  # messages of which an outcome is lost
    cdef readonly uint64_t number  # of the last batch
    cdef readonly uint64_t sequence  # of the last frame
    cdef readonly uint64_t newest  # the largest message number seen
    cdef Entry copy  # the message that is being read
    cdef uint64_t message, bytes_read, notice_of
    cdef uint32_t frames, crc
    cdef bint broken  # frames are missing since its ENVELOPE
    cdef object settles

    def __init__(self):
        self.entries, self.damaged, self.notices, self.repeats = {}, {}, [], []

    def batch_at(self, const unsigned char[::1] data, Py_ssize_t pos, uint64_t salt):
        """(number, first sequence, bytes with padding, (durable segment, offset)) of a batch later than the last, or None."""
        cdef fr_batch body
        if pos < 0 or pos >= data.shape[0] or not batch_ok(&data[pos], data.shape[0] - pos, salt, &body):
            return None
        if body.number <= self.number:
            return None
        return body.number, body.first, (body.bytes + BLOCK - 1) & ~(BLOCK - 1), (body.durable_segment, body.durable_offset)

    def find(self, const unsigned char[::1] data, Py_ssize_t pos, Py_ssize_t end, uint64_t salt) -> int:
        """Where the next batch begins, at or after `pos`; -1: nowhere."""
        cdef fr_batch body
        end = min(end, data.shape[0])
        while pos < end:
            if batch_ok(&data[pos], data.shape[0] - pos, salt, &body) and body.number > self.number:
                return pos
            pos += BLOCK
        return -1

    def whole(self, const unsigned char[::1] data, Py_ssize_t pos, uint64_t salt) -> bool:
        """Is every frame of the batch at `pos` there and right?"""
        cdef fr_batch body
        cdef fr_header header
        cdef Py_ssize_t end
        cdef uint32_t frames = 0
        cdef uint64_t sequence
        if not batch_ok(&data[pos], data.shape[0] - pos, salt, &body) or <Py_ssize_t>body.bytes > data.shape[0] - pos:
            return False
        end, sequence = pos + body.bytes, body.first
        while end - pos >= HEADER:
            memcpy(&header, &data[pos], HEADER)
            if not header_ok(&header, salt) or header.sequence != sequence:
                return False
            if <Py_ssize_t>header.length > end - pos - HEADER:
                return False
            if header.payload_crc != checksum(0, &data[pos] + HEADER, header.length):
                return False
            pos += HEADER + header.length
            sequence += 1
            frames += 1
        return pos == end and frames == body.frames

    def apply(self, const unsigned char[::1] data, Py_ssize_t pos, uint64_t segment) -> None:
        """Replay a batch that is whole."""
        cdef fr_batch body
        cdef fr_header header
        cdef Py_ssize_t end
        memcpy(&body, &data[pos] + HEADER, sizeof(body))
        if body.first != self.sequence + 1:
            self.gap()
        end = pos + body.bytes
        while pos < end:
            memcpy(&header, &data[pos], HEADER)
            self.frame(&header, &data[pos] + HEADER, segment << 32 | <uint64_t>pos)
            pos += HEADER + header.length
        self.sequence, self.number = body.first + body.frames - 1, body.number

    def salvage(self, const unsigned char[::1] data, Py_ssize_t pos, Py_ssize_t end, uint64_t salt, uint64_t segment) -> None:
        """Replay the frames that are right in a stretch that is damaged."""
        cdef fr_header header
        cdef fr_batch body
        end = min(end, data.shape[0])
        while end - pos >= HEADER:
            memcpy(&header, &data[pos], HEADER)
            if (
                header.magic != MAGIC or not header_ok(&header, salt) or header.sequence <= self.sequence
                or <Py_ssize_t>header.length > end - pos - HEADER
            ):
                pos += 1
                continue
            if header.sequence != self.sequence + 1:
                self.gap()
            self.sequence = header.sequence
            if header.payload_crc != checksum(0, &data[pos] + HEADER, header.length):
                self.lost(&header)
            elif header.type == BATCH:
                memcpy(&body, &data[pos] + HEADER, sizeof(body))
                self.number = max(self.number, body.number)
            else:
                self.frame(&header, &data[pos] + HEADER, segment << 32 | <uint64_t>pos)
            pos += HEADER + header.length

    def gap(self) -> None:
        """Frames are missing: the message that is being read, if any, is not whole."""
        if self.copy is not None:
            self.broken = True

    def end(self) -> None:
        """Nothing comes any more; a message without COMMIT does not exist, but for one that lost frames."""
        self.drop_copy()

    cdef int drop_copy(self) except -1:
        if self.copy is not None and self.broken and self.message not in self.entries:
            self.damaged[self.message] = "frames are missing"
        self.copy, self.settles = None, None
        self.message, self.broken = 0, False
        return 0

    cdef int lost(self, const fr_header *header) except -1:
        """A frame whose header is right and whose payload is not."""
        if header.type == ENVELOPE or header.type == DATA or header.type == COMMIT:
            if self.copy is not None and self.message == header.message and header.type == DATA:
                self.broken = True
            elif header.message not in self.entries:
                self.damaged[header.message] = "its contents are damaged"
        elif header.type != BATCH:
            self.repeats.append(header.message)
        return 0

    cdef int frame(self, const fr_header *header, const uint8_t *payload, uint64_t position) except -1:
        cdef Entry entry
        if header.type == BATCH:
            return 0
        try:
            if not BATCH <= header.type <= CORRUPT:
                raise NewerFormat(f"frame of type {header.type}")
            if header.type == ENVELOPE:
                return self.envelope(header, payload, position)
            if header.type == DATA or header.type == COMMIT or header.flags & RELOCATED:
                return self.rest(header, payload, position)
            entry = self.entries.get(header.message)
            if header.type == CORRUPT or header.type == REMOVED:
                self.damaged.pop(header.message, None)
            elif header.type == DONE and not header.length:
                self.damaged.pop(header.message, None)
            if entry is not None and self.outcome(entry, header, payload, position):
                del self.entries[header.message]
        except CorruptRecord as error:
            self.damaged[header.message] = str(error)
        return 0

    cdef int envelope(self, const fr_header *header, const uint8_t *payload, uint64_t position) except -1:
        cdef fr_envelope fixed
        if header.flags & MORE:
            return self.rest(header, payload, position)
        self.drop_copy()
        self.copy = read_entry(header.message, payload, header.length)
        self.copy.segment, self.copy.offset = <uint32_t>(position >> 32), <uint32_t>position
        self.message, self.bytes_read, self.frames, self.crc = header.message, 0, 0, 0
        self.newest = max(self.newest, header.message)
        read_fixed(&fixed, payload, header.length)
        self.notice_of = fixed.notice_of
        if fixed.notice_of:
            self.settles = read_settles(payload, header.length)
        return self.count(header, 1)

    cdef int count(self, const fr_header *header, uint32_t frames) except -1:
        self.frames += frames
        self.crc = checksum(self.crc, &header.payload_crc, 4)
        self.copy.stored += HEADER + header.length
        return 0

    cdef int rest(self, const fr_header *header, const uint8_t *payload, uint64_t position) except -1:
        """DATA, the OUTCOMEs of a copy, COMMIT."""
        cdef fr_commit commit
        if self.copy is None or self.message != header.message:
            if header.type == COMMIT and header.message not in self.entries:
                self.damaged[header.message] = "its envelope is missing"
            return 0
        if header.type == COMMIT:
            memset(&commit, 0, sizeof(commit))
            memcpy(&commit, payload, min(<Py_ssize_t>header.length, <Py_ssize_t>sizeof(commit)))
            self.copy.stored += HEADER + header.length
            if commit.bytes == self.bytes_read and commit.frames == self.frames and commit.crc == self.crc:
                self.commit()
            else:
                self.broken = True
            return self.drop_copy()
        if header.type == DATA:
            self.bytes_read += header.length
        elif header.type == OUTCOME:
            self.outcome_notes(self.copy, payload, header.length, position)
        return self.count(header, 1)

    cdef int commit(self) except -1:
        self.damaged.pop(self.message, None)
        if self.notice_of and self.settles:
            self.notices.append((self.notice_of, self.settles))
        self.broken = False
        if not self.copy.close():
            self.entries[self.message] = self.copy
        return 0

    cdef int outcome_notes(self, Entry entry, const uint8_t *payload, Py_ssize_t size, uint64_t position) except -1:
        cdef fr_outcome fixed
        cdef Py_ssize_t pos = sizeof(fr_state)
        while pos < size:
            pos += outcome_size(&fixed, payload + pos, size - pos)
            entry.set_note(fixed.recipient, position)
            if fixed.status != R_DEFERRED:
                entry.fail(fixed.recipient)
        return 0

    cdef bint outcome(self, Entry entry, const fr_header *header, const uint8_t *payload, uint64_t position) except -1:
        """Take a frame about an entry; is the message DONE?"""
        cdef fr_state fixed
        if header.type == REMOVED or header.type == CORRUPT or (header.type == DONE and not header.length):
            entry.finish()
        elif header.type == DONE or header.type == SETTLED:
            for i in read_indices(payload, header.length):
                entry.sent(i)
        elif header.type == OUTCOME or header.type == STATE:
            if header.length < sizeof(fixed):
                raise CorruptRecord("short state")
            memcpy(&fixed, payload, sizeof(fixed))
            entry.next_try, entry.tries = fixed.next_try, fixed.tries
            if fixed.state == S_DEFERRED or fixed.state == S_HOLD or fixed.state == S_INCOMING:
                entry._state = fixed.state
            elif fixed.state == S_ACTIVE:
                entry._state = S_DEFERRED if fixed.tries else S_INCOMING
            if header.type == STATE:
                entry.by_hand(entry._state)
            else:
                self.outcome_notes(entry, payload, header.length, position)
        return entry.close()
