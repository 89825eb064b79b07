"""The stored form: frames, the envelope's codec, the index entry, and replay. docs/queue-format.md is its text.

Called by shard.py (Record, Batch), recover.py (Replay) and spool.py (Entry, the codecs). Everything read from a
disk is bounded and checked before it is used: what is wrong raises CorruptRecord and never more.
A Record is owned by the loop's thread until it is taken for a batch, then by the commit thread until the batch is done.
One file, because frames, entry and replay share the same structs and must inline.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.buffer cimport PyBUF_READ, PyBuffer_IsContiguous
from cpython.memoryview cimport PyMemoryView_FromMemory, PyMemoryView_GET_BUFFER
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastrelay._bytes cimport FASTRELAY_DEBUG, ByteBuffer, buffer_append, buffer_free, buffer_init, bytes_ptr

from fastrelay.borders cimport Outcome
from fastrelay.queue._checksum cimport checksum
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._envelope cimport put_envelope
from fastrelay.queue._format cimport (
    BATCH, BATCH_SIZE, BLOCK, COMMIT, CORRUPT, DATA, DONE, ENVELOPE, HEADER, MAGIC, MAX_BATCH, MORE, M_EXPANDED,
    OUTCOME, RELOCATED, R_DEFERRED, R_SENT, STATE, S_ACTIVE, S_DEFERRED, S_HOLD, S_INCOMING, fr_batch, fr_commit,
    fr_header, fr_state, header_crc,
)
from fastrelay.queue._outcome cimport put_outcome

cdef enum:
    COPY_BELOW = 1024  # pieces shorter than this are copied: cheaper than an iovec
    NOTES_SIZE = 65536  # outcomes of one frame

cdef int _live = 0


def live_objects() -> int:
    """Records that are alive; counted in debug builds only."""
    return _live




# --- records: what waits to be written ----------------------------------------------------------

cdef struct Frame:
    Py_ssize_t header  # where in `small`
    uint32_t size
    uint32_t first_piece
    uint32_t pieces
    uint64_t position  # where it was written: segment << 32 | offset

cdef struct Piece:
    const char *outside  # NULL: in `small`
    Py_ssize_t offset
    Py_ssize_t size


@cython.final
@cython.no_gc
cdef class Record:
    """Frames that wait: one message, or outcomes of many. Short pieces are copied, long ones referred to."""

    cdef ByteBuffer small
    cdef Frame *frames
    cdef Piece *pieces
    cdef uint32_t frame_count, frame_room, piece_count, piece_room
    cdef uint32_t running_crc, running_length
    cdef uint32_t written  # frames taken into batches so far
    cdef uint64_t written_bytes
    cdef uint32_t taken_pieces
    cdef list kept  # what the outside pieces point into
    cdef list noted  # (entry, frame, outcomes), whose positions are known when the batch is done
    cdef readonly uint64_t size  # bytes of all frames
    cdef readonly Entry entry  # of a message
    cdef object done
    cdef public bint cancelled
    cdef public bint relocation
    cdef public bint patient  # nobody is waiting who would send it again
    cdef public bint late  # who waited has been told that it is not stored

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        buffer_init(&self.small)

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1
        buffer_free(&self.small)
        free(self.frames)
        free(self.pieces)

    @property
    def begun(self) -> bool:
        return self.written > 0

    @property
    def segment(self) -> int:
        """Where the first frame was written."""
        return <uint32_t>(self.frames[0].position >> 32)

    def cancel(self) -> bool:
        """Drop a message whose client is gone; False: it is too late."""
        if not self.written:
            self.cancelled = True
        return self.cancelled

    cdef int open(self, uint8_t type, uint8_t flags, uint64_t message) except -1:
        cdef fr_header header
        cdef Frame *frame
        if self.frame_count == self.frame_room:
            self.frame_room = self.frame_room * 2 if self.frame_room else 4
            frame = <Frame *>realloc(self.frames, self.frame_room * sizeof(Frame))
            if frame == NULL:
                raise MemoryError
            self.frames = frame
        frame = &self.frames[self.frame_count]
        frame.header, frame.size, frame.first_piece, frame.pieces = self.small.size, 0, self.piece_count, 0
        frame.position = 0
        self.frame_count += 1
        self.running_crc = self.running_length = 0
        memset(&header, 0, sizeof(header))
        header.magic, header.type, header.flags, header.message = MAGIC, type, flags, message
        self.put_inside(<bytes_ptr>&header, HEADER)
        return 0

    cdef Piece *new_piece(self) except NULL:
        cdef Piece *piece
        if self.piece_count == self.piece_room:
            self.piece_room = self.piece_room * 2 if self.piece_room else 4
            piece = <Piece *>realloc(self.pieces, self.piece_room * sizeof(Piece))
            if piece == NULL:
                raise MemoryError
            self.pieces = piece
        piece = &self.pieces[self.piece_count]
        self.piece_count += 1
        self.frames[self.frame_count - 1].pieces += 1
        return piece

    cdef int put_inside(self, bytes_ptr data, Py_ssize_t size) except -1:
        cdef Py_ssize_t at = self.small.size
        buffer_append(&self.small, data, size)
        return self.took_inside(at, size)

    cdef int took_inside(self, Py_ssize_t at, Py_ssize_t size) except -1:
        """`size` bytes were added to `small` at `at`: they belong to the open frame."""
        cdef Frame *frame = &self.frames[self.frame_count - 1]
        cdef Piece *piece
        if frame.pieces and self.pieces[self.piece_count - 1].outside == NULL:
            self.pieces[self.piece_count - 1].size += size
        else:
            piece = self.new_piece()
            piece.outside, piece.offset, piece.size = NULL, at, size
        return 0

    cdef int put_body(self, const char *data, Py_ssize_t size) except -1:
        cdef Piece *piece
        self.running_crc = checksum(self.running_crc, data, size)
        self.running_length += <uint32_t>size
        if size < COPY_BELOW:
            return self.put_inside(<bytes_ptr>data, size)
        piece = self.new_piece()
        piece.outside, piece.offset, piece.size = data, 0, size
        return 0

    cdef int close(self, uint32_t crc, uint32_t length) except -1:
        cdef Frame *frame = &self.frames[self.frame_count - 1]
        cdef fr_header *header = <fr_header *>(self.small.data + frame.header)
        header.length, header.payload_crc = length, crc
        frame.size = HEADER + length
        self.size += frame.size
        return 0

    cdef int close_inside(self) except -1:
        """Close a frame whose whole payload is in `small`."""
        cdef Py_ssize_t at = self.frames[self.frame_count - 1].header + HEADER
        cdef uint32_t length = <uint32_t>(self.small.size - at)
        return self.close(checksum(0, self.small.data + at, length), length)

    cdef int put_frame(self, uint8_t type, uint8_t flags, uint64_t message, bytes_ptr data, Py_ssize_t size) except -1:
        self.open(type, flags, message)
        if size:
            self.put_inside(data, size)
        return self.close_inside()

    cdef int put_envelope(
        self, uint64_t message, envelope, Entry copied, settles, uint8_t state, Py_ssize_t chunk
    ) except -1:
        cdef Py_ssize_t at, size, pos
        cdef bytes whole
        self.open(ENVELOPE, 0, message)
        at = self.small.size
        put_envelope(&self.small, envelope, copied, settles, state)
        size = self.small.size - at
        if size <= chunk:
            self.took_inside(at, size)
            return self.close_inside()
        whole = (<char *>self.small.data)[at:at + size]
        self.small.size = at
        for pos in range(0, size, chunk):
            if pos:
                self.open(ENVELOPE, MORE, message)
            self.put_inside(<bytes_ptr>PyBytes_AS_STRING(whole) + pos, min(chunk, size - pos))
            self.close_inside()
        return 0

    cdef uint64_t put_content(self, uint64_t message, content, Py_ssize_t chunk) except? 0:
        cdef const char *data
        cdef Py_buffer *view
        cdef Py_ssize_t size, step
        cdef uint64_t total = 0
        cdef bint opened = False
        self.kept = []
        for piece in content:
            if type(piece) is bytes:
                data, size = PyBytes_AS_STRING(piece), len(<bytes>piece)
                self.kept.append(piece)
            else:
                piece = memoryview(piece)  # holds the buffer, whatever its owner does
                view = PyMemoryView_GET_BUFFER(piece)
                if not PyBuffer_IsContiguous(view, b"C"):
                    raise BufferError("contents must be contiguous")
                data, size = <const char *>view.buf, view.len
                self.kept.append(piece)
            total += size
            while size:
                if opened and self.running_length == chunk:
                    self.close(self.running_crc, self.running_length)
                    opened = False
                if not opened:
                    self.open(DATA, 0, message)
                    opened = True
                step = min(size, chunk - self.running_length)
                self.put_body(data, step)
                data += step
                size -= step
        if opened:
            self.close(self.running_crc, self.running_length)
        return total

    cdef int put_commit(self, uint64_t message, uint64_t total) except -1:
        cdef fr_commit commit
        cdef uint32_t i, crc = 0
        cdef fr_header *header
        for i in range(self.frame_count):
            header = <fr_header *>(self.small.data + self.frames[i].header)
            crc = checksum(crc, &header.payload_crc, 4)
        commit.bytes, commit.frames, commit.crc = total, self.frame_count, crc
        return self.put_frame(COMMIT, 0, message, <bytes_ptr>&commit, sizeof(commit))

    cdef int put_outcomes(self, Entry entry, outcomes, uint8_t flags) except -1:
        """OUTCOME frames of at most NOTES_SIZE."""
        cdef fr_state fixed
        cdef list group = []
        fixed.next_try, fixed.tries, fixed.state = entry.next_try, entry.tries, entry._state
        cdef Py_ssize_t at
        self.open(OUTCOME, flags, entry.message_id)
        self.put_inside(<bytes_ptr>&fixed, sizeof(fixed))
        for outcome in outcomes:
            if self.small.size - self.frames[self.frame_count - 1].header > NOTES_SIZE:
                self.close_inside()
                self.add_noted(entry, group)
                group = []
                self.open(OUTCOME, flags, entry.message_id)
                self.put_inside(<bytes_ptr>&fixed, sizeof(fixed))
            at = self.small.size
            put_outcome(&self.small, outcome)
            self.took_inside(at, self.small.size - at)
            group.append(outcome)
        self.close_inside()
        return self.add_noted(entry, group)

    cdef int add_noted(self, Entry entry, list group) except -1:
        if group:
            if self.noted is None:
                self.noted = []
            self.noted.append((entry, self.frame_count - 1, group))
        return 0

    def add_outcomes(self, Entry entry, outcomes, double next_try) -> bool:
        """Take the verdicts into the entry and the frames that say so; is the message DONE now?"""
        cdef uint32_t frames = self.frame_count, pieces = self.piece_count
        cdef Py_ssize_t small = self.small.size
        cdef uint64_t size = self.size
        try:
            return self.take_outcomes(entry, outcomes, next_try)
        except BaseException:  # others' frames are in here: leave no half of one behind
            self.frame_count, self.piece_count, self.small.size, self.size = frames, pieces, small, size
            if self.noted is not None:
                self.noted = [noted for noted in self.noted if noted[1] < frames]
            raise

    cdef bint take_outcomes(self, Entry entry, outcomes, double next_try) except -1:
        cdef list sent = [], other = []
        cdef Outcome outcome
        for outcome in outcomes:
            if outcome.status == R_SENT and not outcome.notice:
                entry.sent(outcome.recipient)
                sent.append(outcome.recipient)
            else:
                other.append(outcome)
                if outcome.status != R_DEFERRED:
                    entry.fail(outcome.recipient)
        if next_try > 0.0:
            entry.next_try = next_try
            if entry._state == S_ACTIVE or entry._state == S_INCOMING:
                entry._state = S_DEFERRED
                entry.tries += 1
        if not other and entry.close():
            self.put_frame(DONE, 0, entry.message_id, NULL, 0)
            return True
        if sent:
            self.add_list(DONE, entry.message_id, sent)
        if other or next_try > 0.0:
            self.put_outcomes(entry, other, 0)
        return entry.close()

    def add_list(self, uint8_t type, uint64_t message, recipients) -> None:
        """A frame with a list of recipients: DONE, SETTLED."""
        cdef uint32_t i
        cdef Py_ssize_t at
        self.open(type, 0, message)
        at = self.small.size
        for i in recipients:
            buffer_append(&self.small, <bytes_ptr>&i, 4)
        self.took_inside(at, self.small.size - at)
        self.close_inside()

    def add_state(self, Entry entry, int state, double next_try) -> None:
        """The entry's state by hand: hold, release, requeue."""
        cdef fr_state fixed
        entry.next_try = next_try
        entry.by_hand(<uint8_t>state)
        fixed.next_try, fixed.tries, fixed.state = next_try, entry.tries, state
        self.put_frame(STATE, 0, entry.message_id, <bytes_ptr>&fixed, sizeof(fixed))

    def add_end(self, Entry entry, uint8_t type) -> None:
        """REMOVED or CORRUPT, and DONE for settled messages: nothing of it is left."""
        if entry is not None:
            entry.finish()
            self.put_frame(type, 0, entry.message_id, NULL, 0)

    def add_lost(self, uint64_t message) -> None:
        """CORRUPT, for a message that has no entry."""
        self.put_frame(CORRUPT, 0, message, NULL, 0)

    def written_notes(self) -> list:
        """(entry, outcomes) whose frames are durable; their positions are in the entries now."""
        cdef list found = []
        cdef Entry entry
        if self.noted is not None:
            for entry, frame, group in self.noted:
                for outcome in group:
                    entry.set_note(outcome.recipient, self.frames[<uint32_t>frame].position)
                found.append((entry, group))
        return found

    def moved(self) -> None:
        """A relocated copy is durable: the entry points to it."""
        self.place(self.entry)
        self.written_notes()

    def publish(self) -> None:
        """A new message is durable: its entry points to it."""
        self.place(self.entry)

    def report(self, entry) -> None:
        """Tell who appended it, once: a record that is kept must not keep a session."""
        cdef object done = self.done
        self.done = None
        if done is not None:
            done(entry)

    cdef void place(self, Entry entry) noexcept:
        entry.segment = <uint32_t>(self.frames[0].position >> 32)
        entry.offset = <uint32_t>self.frames[0].position
        entry.stored = self.size


def message_record(uint64_t message, envelope, content, done, Py_ssize_t chunk, settles=(), bint hold=False) -> Record:
    """A new message; its entry is in the record."""
    cdef Record record = Record.__new__(Record)
    cdef Entry entry = Entry.__new__(Entry, message, len(envelope.recipients), envelope.arrival, envelope.size)
    cdef uint64_t total
    if hold:
        entry._state = S_HOLD
    if envelope.expanded:
        entry.marks = M_EXPANDED
    record.entry, record.done = entry, done
    record.put_envelope(message, envelope, None, settles, entry._state, chunk)
    total = record.put_content(message, content, chunk)
    record.put_commit(message, total)
    return record


def copy_record(Entry entry, envelope, notes, content, Py_ssize_t chunk) -> Record:
    """A message written again with what is left of it, its reasons before its contents."""
    cdef Record record = Record.__new__(Record)
    cdef uint64_t total
    record.entry, record.relocation = entry, True
    record.put_envelope(entry.message_id, envelope, entry, (), S_INCOMING, chunk)
    if notes:
        record.put_outcomes(entry, notes, RELOCATED)
    total = record.put_content(entry.message_id, content, chunk)
    record.put_commit(entry.message_id, total)
    return record


# --- batches: what is written at once -----------------------------------------------------------

_zeros = bytes(BLOCK)


@cython.final
cdef class Batch:
    """Records on their way to one segment: numbers them, seals their headers, lists the buffers to write."""

    cdef fr_header head
    cdef fr_batch body
    cdef unsigned char start[BATCH_SIZE]
    cdef readonly uint64_t segment
    cdef readonly uint64_t offset
    cdef uint64_t salt
    cdef readonly uint64_t sequence  # of the next frame
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t used  # without the padding
    cdef readonly list buffers
    cdef readonly list records  # whose last frame is in this batch
    cdef uint32_t frames

    def __init__(
        self, uint64_t segment, uint64_t offset, uint64_t salt, Py_ssize_t room, uint64_t number, uint64_t first,
        tuple durable,
    ):
        memset(&self.head, 0, sizeof(self.head))
        self.segment, self.offset, self.salt = segment, offset, salt
        self.room, self.used = min(room, MAX_BATCH), BATCH_SIZE
        self.body.number, self.body.first = number, first
        self.body.durable_segment, self.body.durable_offset = durable
        self.sequence, self.frames = first + 1, 1
        self.buffers, self.records = [PyMemoryView_FromMemory(<char *>self.start, BATCH_SIZE, PyBUF_READ)], []

    @property
    def number(self) -> int:
        return self.body.number

    @property
    def size(self) -> int:
        """With the padding."""
        return (self.used + BLOCK - 1) & ~(<Py_ssize_t>BLOCK - 1)

    @property
    def empty(self) -> bool:
        return self.frames == 1

    def add(self, Record record, uint64_t split_above) -> bool:
        """Take what fits; False: some of it remains. Only what is longer than `split_above` is split."""
        cdef uint64_t left = record.size - record.written_bytes
        cdef Frame *frame
        if left > <uint64_t>(self.room - self.used) and left <= split_above:
            return False
        while record.written < record.frame_count:
            frame = &record.frames[record.written]
            if <Py_ssize_t>frame.size > self.room - self.used:
                break
            frame.position = self.segment << 32 | (self.offset + self.used)
            self.seal(<fr_header *>(record.small.data + frame.header))
            self.used += frame.size
            record.written += 1
            record.written_bytes += frame.size
        self.take_pieces(record)
        if record.written < record.frame_count:
            return False
        self.records.append(record)
        return True

    cdef inline void seal(self, fr_header *header) noexcept nogil:
        header.sequence = self.sequence
        header.header_crc = header_crc(header, self.salt)
        self.sequence += 1
        self.frames += 1

    cdef int take_pieces(self, Record record) except -1:
        """The pieces of the frames up to `written` that were not yet taken, neighbours joined."""
        cdef Frame *last
        cdef Piece *piece
        cdef const char *data = NULL
        cdef const char *at
        cdef Py_ssize_t size = 0
        cdef uint32_t end
        if not record.written:
            return 0
        last = &record.frames[record.written - 1]
        end = last.first_piece + last.pieces
        while record.taken_pieces < end:
            piece = &record.pieces[record.taken_pieces]
            record.taken_pieces += 1
            at = piece.outside if piece.outside != NULL else <const char *>record.small.data + piece.offset
            if data + size == at and size:
                size += piece.size
                continue
            if size:
                self.buffers.append(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
            data, size = at, piece.size
        if size:
            self.buffers.append(PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ))
        return 0

    def finish(self, double time) -> list:
        """Write the BATCH frame; the buffers, padded to whole blocks."""
        cdef Py_ssize_t padding = self.size - self.used
        self.body.bytes, self.body.frames, self.body.time = <uint32_t>self.used, self.frames, time
        self.head.magic, self.head.type = MAGIC, BATCH
        self.head.length, self.head.sequence = sizeof(fr_batch), self.body.first
        self.head.payload_crc = checksum(0, &self.body, sizeof(fr_batch))
        self.head.header_crc = header_crc(&self.head, self.salt)
        memcpy(self.start, &self.head, HEADER)
        memcpy(self.start + HEADER, &self.body, sizeof(fr_batch))
        if padding:
            self.buffers.append(_zeros if padding == BLOCK else memoryview(_zeros)[:padding])
        return self.buffers
