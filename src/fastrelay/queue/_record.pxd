cimport cython
from libc.stdint cimport uint8_t, uint64_t

from fastrelay.borders cimport Envelope
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._frames cimport Frames


@cython.final
cdef class Record:
    cdef Frames frames
    cdef list kept  # what the outside pieces point into
    cdef list noted  # (entry, frame, outcomes), whose positions are known when the batch is done
    cdef readonly Entry entry  # of a message
    cdef object done
    cdef public bint cancelled
    cdef public bint relocation
    cdef public bint patient  # nobody is waiting who would send it again
    cdef public bint late  # who waited has been told that it is not stored

    cdef int put_envelope(
        self, uint64_t message, Envelope envelope, Entry copied, settles, uint8_t state, Py_ssize_t chunk
    ) except -1
    cdef uint64_t put_content(self, uint64_t message, content, Py_ssize_t chunk) except? 0
    cdef int put_commit(self, uint64_t message, uint64_t total) except -1
    cdef int put_outcomes(self, Entry entry, outcomes, uint8_t flags) except -1
    cdef int add_noted(self, Entry entry, list group) except -1
    cdef bint take_outcomes(self, Entry entry, outcomes, double next_try) except -1
    cdef void place(self, Entry entry) noexcept
    cpdef bint add_outcomes(self, Entry entry, outcomes, double next_try) except -1
    cpdef publish(self)
    cpdef report(self, entry)

cpdef Record message_record(
    uint64_t message, Envelope envelope, content, done, Py_ssize_t chunk, settles=*, bint hold=*
)
