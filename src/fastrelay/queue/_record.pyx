"""What waits to be written: the frames of one message, or of outcomes of many. docs/queue-format.md is their text.

Called by spool.py and compact.py, which put messages and outcomes in; a Batch takes the frames out. Invariant: a Record is
owned by the loop's thread until it is taken for a batch, then by the commit thread until the batch is done; what
an entry says and what the frames say change together.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.buffer cimport PyBuffer_IsContiguous
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastrelay._bytes cimport FASTRELAY_DEBUG, buffer_append, buffer_reserve, bytes_ptr
from fastrelay.borders cimport Envelope, Outcome
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._envelope cimport put_envelope
from fastrelay.queue._format cimport (
    COMMIT, CORRUPT, DATA, DONE, ENVELOPE, MORE, M_EXPANDED, OUTCOME, RELOCATED, R_DEFERRED, R_SENT, STATE,
    S_ACTIVE, S_DEFERRED, S_HOLD, S_INCOMING, fr_commit, fr_state,
)
from fastrelay.queue._frames cimport (
    checksum_of_checksums, close_body, close_inside, free_frames, open_frame, open_one, put_body, put_frame,
    put_inside, took_inside,
)
from fastrelay.queue._outcome cimport put_outcome

from fastrelay.borders import Status

cdef object SENT = Status.SENT

cdef enum:
    NOTES_SIZE = 65536  # outcomes of one frame
    USUAL_SIZE = 1024  # what is copied of a message: envelope, header, commit

cdef int _live = 0


def live_objects() -> int:
    """Records that are alive; counted in debug builds only."""
    return _live


@cython.final
@cython.no_gc
cdef class Record:
    """Frames that wait: one message, or outcomes of many. Short pieces are copied, long ones referred to."""

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1
        free_frames(&self.frames)

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return self.frames.size

    @property
    def begun(self) -> bool:
        return self.frames.written > 0

    @property
    def segment(self) -> int:
        """Where the first frame was written."""
        return <uint32_t>(self.frames.all[0].position >> 32)

    def cancel(self) -> bool:
        """Drop a message whose client is gone; False: it is too late."""
        if not self.frames.written:
            self.cancelled = True
        return self.cancelled

    cdef int put_envelope(
        self, uint64_t message, Envelope envelope, Entry copied, settles, uint8_t state, Py_ssize_t chunk
    ) except -1:
        cdef Py_ssize_t at, size, pos
        cdef bytes whole
        open_frame(&self.frames, ENVELOPE, 0, message)
        at = self.frames.small.size
        put_envelope(&self.frames.small, envelope, copied, settles, state)
        size = self.frames.small.size - at
        if size <= chunk:
            took_inside(&self.frames, at)
            close_inside(&self.frames)
            return 0
        whole = (<char *>self.frames.small.data)[at:at + size]
        self.frames.small.size = at
        for pos in range(0, size, chunk):
            if pos:
                open_frame(&self.frames, ENVELOPE, MORE, message)
            put_inside(&self.frames, <bytes_ptr>PyBytes_AS_STRING(whole) + pos, min(chunk, size - pos))
            close_inside(&self.frames)
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
                if opened and self.frames.running_length == chunk:
                    close_body(&self.frames)
                    opened = False
                if not opened:
                    open_frame(&self.frames, DATA, 0, message)
                    opened = True
                step = min(size, chunk - self.frames.running_length)
                put_body(&self.frames, data, step)
                data += step
                size -= step
        if opened:
            close_body(&self.frames)
        return total

    cdef int put_commit(self, uint64_t message, uint64_t total) except -1:
        cdef fr_commit commit
        commit.bytes, commit.frames, commit.crc = total, self.frames.count, checksum_of_checksums(&self.frames)
        return put_frame(&self.frames, COMMIT, 0, message, <bytes_ptr>&commit, sizeof(commit))

    cdef int put_outcomes(self, Entry entry, outcomes, uint8_t flags) except -1:
        """OUTCOME frames of at most NOTES_SIZE."""
        cdef fr_state fixed
        cdef list group = []
        fixed.next_try, fixed.tries, fixed.state = entry.next_try, entry.tries, entry._state
        cdef Py_ssize_t at
        open_frame(&self.frames, OUTCOME, flags, entry.message_id)
        put_inside(&self.frames, <bytes_ptr>&fixed, sizeof(fixed))
        for outcome in outcomes:
            if self.frames.small.size - open_one(&self.frames).header > NOTES_SIZE:
                close_inside(&self.frames)
                self.add_noted(entry, group)
                group = []
                open_frame(&self.frames, OUTCOME, flags, entry.message_id)
                put_inside(&self.frames, <bytes_ptr>&fixed, sizeof(fixed))
            at = self.frames.small.size
            put_outcome(&self.frames.small, outcome)
            took_inside(&self.frames, at)
            group.append(outcome)
        close_inside(&self.frames)
        return self.add_noted(entry, group)

    cdef int add_noted(self, Entry entry, list group) except -1:
        if group:
            if self.noted is None:
                self.noted = []
            self.noted.append((entry, self.frames.count - 1, group))
        return 0

    cpdef bint add_outcomes(self, Entry entry, outcomes, double next_try) except -1:
        """Take the verdicts into the entry and the frames that say so; is the message DONE now?"""
        cdef uint32_t frames = self.frames.count, pieces = self.frames.piece_count
        cdef Py_ssize_t small = self.frames.small.size
        cdef uint64_t size = self.frames.size
        try:
            return self.take_outcomes(entry, outcomes, next_try)
        except BaseException:  # others' frames are in here: leave no half of one behind
            self.frames.count, self.frames.piece_count, self.frames.small.size, self.frames.size = frames, pieces, small, size
            if self.noted is not None:
                self.noted = [noted for noted in self.noted if noted[1] < frames]
            raise

    cdef bint take_outcomes(self, Entry entry, outcomes, double next_try) except -1:
        cdef list other = None
        cdef Outcome outcome
        cdef bint some_sent = False
        for outcome in outcomes:
            if is_over(outcome):
                entry.sent(outcome.recipient)
                some_sent = True
            else:
                if other is None:
                    other = []
                other.append(outcome)
                if outcome.status != R_DEFERRED:
                    entry.fail(outcome.recipient)
        if next_try > 0.0:
            entry.next_try = next_try
            if entry._state == S_ACTIVE or entry._state == S_INCOMING:
                entry._state = S_DEFERRED
                entry.tries += 1
        if not other and entry.close():
            put_frame(&self.frames, DONE, 0, entry.message_id, NULL, 0)
            return True
        if some_sent:
            self.add_list(DONE, entry.message_id, [outcome.recipient for outcome in outcomes if is_over(outcome)])
        if other or next_try > 0.0:
            self.put_outcomes(entry, other or (), 0)
        return entry.close()

    def add_list(self, uint8_t type, uint64_t message, recipients) -> None:
        """A frame with a list of recipients: DONE, SETTLED."""
        cdef uint32_t i
        cdef Py_ssize_t at
        open_frame(&self.frames, type, 0, message)
        at = self.frames.small.size
        for i in recipients:
            buffer_append(&self.frames.small, <bytes_ptr>&i, 4)
        took_inside(&self.frames, at)
        close_inside(&self.frames)

    def add_state(self, Entry entry, int state, double next_try) -> None:
        """The entry's state by hand: hold, release, requeue."""
        cdef fr_state fixed
        entry.next_try = next_try
        entry.by_hand(<uint8_t>state)
        fixed.next_try, fixed.tries, fixed.state = next_try, entry.tries, state
        put_frame(&self.frames, STATE, 0, entry.message_id, <bytes_ptr>&fixed, sizeof(fixed))

    def add_end(self, Entry entry, uint8_t type) -> None:
        """REMOVED or CORRUPT, and DONE for settled messages: nothing of it is left."""
        if entry is not None:
            entry.finish()
            put_frame(&self.frames, type, 0, entry.message_id, NULL, 0)

    def add_lost(self, uint64_t message) -> None:
        """CORRUPT, for a message that has no entry."""
        put_frame(&self.frames, CORRUPT, 0, message, NULL, 0)

    def written_notes(self) -> list:
        """(entry, outcomes) whose frames are durable; their positions are in the entries now."""
        cdef list found = []
        cdef Entry entry
        if self.noted is not None:
            for entry, frame, group in self.noted:
                for outcome in group:
                    entry.set_note(outcome.recipient, self.frames.all[<uint32_t>frame].position)
                found.append((entry, group))
        return found

    def moved(self) -> None:
        """A relocated copy is durable: the entry points to it."""
        self.place(self.entry)
        self.written_notes()

    cpdef publish(self):
        """A new message is durable: its entry points to it."""
        self.place(self.entry)

    cpdef report(self, entry):
        """Tell who appended it, once: a record that is kept must not keep a session."""
        cdef object done = self.done
        self.done = None
        if done is not None:
            done(entry)

    cdef void place(self, Entry entry) noexcept:
        entry.segment = <uint32_t>(self.frames.all[0].position >> 32)
        entry.offset = <uint32_t>self.frames.all[0].position
        entry.stored = self.frames.size


cdef inline bint is_over(Outcome outcome) noexcept:
    """Is it sent, and nobody to be told?"""
    return outcome.status is SENT and not outcome.notice


cpdef Record message_record(
    uint64_t message, Envelope envelope, content, done, Py_ssize_t chunk, settles=(), bint hold=False
):
    """A new message; its entry is in the record."""
    cdef Record record = Record.__new__(Record)
    cdef Entry entry = Entry.__new__(Entry, message, len(envelope.recipients), envelope.arrival, envelope.size)
    cdef uint64_t total
    buffer_reserve(&record.frames.small, USUAL_SIZE)
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
