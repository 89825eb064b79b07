from libc.stdint cimport uint8_t

from fastrelay._bytes cimport ByteBuffer
from fastrelay.borders cimport Outcome
from fastrelay.queue._format cimport fr_outcome


cdef int put_outcome(ByteBuffer *b, Outcome outcome) except -1
cdef Py_ssize_t outcome_size(fr_outcome *fixed, const uint8_t *at, Py_ssize_t left) except -1
