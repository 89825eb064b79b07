from libc.stdint cimport uint8_t, uint64_t

from fastrelay._bytes cimport ByteBuffer
from fastrelay.borders cimport Envelope
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._format cimport fr_envelope


cdef int put_envelope(ByteBuffer *b, Envelope envelope, Entry entry, settles, uint8_t state) except -1
cdef int read_fixed(fr_envelope *fixed, const uint8_t *data, Py_ssize_t size) except -1
cdef Entry read_entry(uint64_t message, const uint8_t *data, Py_ssize_t size)
cdef object read_settles(const uint8_t *data, Py_ssize_t size)
cdef object read_indices(const uint8_t *at, Py_ssize_t size)
