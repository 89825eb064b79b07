cimport cython
from libc.stdint cimport uint32_t, uint64_t

from fastrelay.queue._format cimport BATCH_SIZE, fr_batch, fr_header
from fastrelay.queue._frames cimport Frames
from fastrelay.queue._record cimport Record

cdef struct Span:
    const char *data
    Py_ssize_t size


@cython.final
cdef class Batch:
    cdef fr_header head
    cdef fr_batch body
    cdef unsigned char start[BATCH_SIZE]
    cdef readonly uint64_t segment
    cdef readonly Py_ssize_t offset
    cdef uint64_t salt
    cdef readonly uint64_t sequence  # of the next frame
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t used  # without the padding
    cdef readonly list records  # whose last frame is in this batch
    cdef uint32_t frames
    cdef Span *spans  # what is to be written, in order
    cdef Py_ssize_t count, space

    cpdef bint add(self, Record record, uint64_t split_above) except -1
    cdef void seal(self, fr_header *header) noexcept
    cdef int take_pieces(self, Frames *frames) except -1
    cdef int put_span(self, const char *data, Py_ssize_t size) except -1
