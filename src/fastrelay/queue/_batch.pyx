"""What is written at once: records on their way to one segment, behind a BATCH frame. docs/queue-format.md is its text.

Called by shard.py, in the loop's thread; commit.py hands the buffers to its own. Invariant: every frame that is in it has
the next sequence and the segment's salt in its header; the records must live until the buffers are written.
"""

cimport cython
from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastrelay.queue._checksum cimport checksum
from fastrelay.queue._format cimport (
    BATCH, BATCH_SIZE, BLOCK, HEADER, MAGIC, MAX_BATCH, fr_batch, fr_header, header_crc,
)
from fastrelay.queue._frames cimport Frame, Frames, Piece
from fastrelay.queue._record cimport Record

cdef bytes _zeros = bytes(BLOCK)


@cython.final
cdef class Batch:
    """Records on their way to one segment: numbers them, seals their headers, lists the buffers to write."""

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
        self.records = []
        self.put_span(<const char *>self.start, BATCH_SIZE)

    def __dealloc__(self):
        free(self.spans)

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

    @property
    def buffers(self) -> list:
        """What is to be written; the batch and its records must live until it is."""
        cdef Py_ssize_t i
        return [
            PyMemoryView_FromMemory(<char *>self.spans[i].data, self.spans[i].size, PyBUF_READ)
            for i in range(self.count)
        ]

    cpdef bint add(self, Record record, uint64_t split_above) except -1:
        """Take what fits; False: some of it remains. Only what is longer than `split_above` is split."""
        cdef Frames *frames = &record.frames
        cdef uint64_t left = frames.size - frames.written_bytes
        cdef Frame *frame
        if left > <uint64_t>(self.room - self.used) and left <= split_above:
            return False
        while frames.written < frames.count:
            frame = &frames.all[frames.written]
            if <Py_ssize_t>frame.size > self.room - self.used:
                break
            frame.position = self.segment << 32 | (self.offset + self.used)
            self.seal(<fr_header *>(frames.small.data + frame.header))
            self.used += frame.size
            frames.written += 1
            frames.written_bytes += frame.size
        self.take_pieces(frames)
        if frames.written < frames.count:
            return False
        self.records.append(record)
        return True

    cdef inline void seal(self, fr_header *header) noexcept:
        header.sequence = self.sequence
        header.header_crc = header_crc(header, self.salt)
        self.sequence += 1
        self.frames += 1

    cdef int take_pieces(self, Frames *frames) except -1:
        """The pieces of the frames up to `written` that were not yet taken, neighbours joined."""
        cdef Frame *last
        cdef Piece *piece
        cdef const char *data = NULL
        cdef const char *at
        cdef Py_ssize_t size = 0
        cdef uint32_t end
        if not frames.written:
            return 0
        last = &frames.all[frames.written - 1]
        end = last.first_piece + last.pieces
        while frames.taken_pieces < end:
            piece = &frames.pieces[frames.taken_pieces]
            frames.taken_pieces += 1
            at = piece.outside if piece.outside != NULL else <const char *>frames.small.data + piece.offset
            if data + size == at and size:
                size += piece.size
                continue
            if size:
                self.put_span(data, size)
            data, size = at, piece.size
        if size:
            self.put_span(data, size)
        return 0

    cdef int put_span(self, const char *data, Py_ssize_t size) except -1:
        cdef Span *spans
        if self.count == self.space:
            spans = <Span *>realloc(self.spans, max(2 * self.space, 16) * sizeof(Span))
            if spans == NULL:
                raise MemoryError
            self.spans, self.space = spans, max(2 * self.space, 16)
        self.spans[self.count].data, self.spans[self.count].size = data, size
        self.count += 1
        return 0

    def finish(self, double time) -> Batch:
        """Write the BATCH frame, and pad what there is to whole blocks: it is ready to be written."""
        cdef Py_ssize_t padding = self.size - self.used
        self.body.bytes, self.body.frames, self.body.time = <uint32_t>self.used, self.frames, time
        self.head.magic, self.head.type = MAGIC, BATCH
        self.head.length, self.head.sequence = sizeof(fr_batch), self.body.first
        self.head.payload_crc = checksum(0, &self.body, sizeof(fr_batch))
        self.head.header_crc = header_crc(&self.head, self.salt)
        memcpy(self.start, &self.head, HEADER)
        memcpy(self.start + HEADER, &self.body, sizeof(fr_batch))
        if padding:
            self.put_span(PyBytes_AS_STRING(_zeros), padding)
        return self
