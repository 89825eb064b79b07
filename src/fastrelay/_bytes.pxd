"""Borrowed slice, owned buffer, byte classes: inline, shared by the compiled files. There is no _bytes.pyx.

A Slice borrows: it must not outlive the object it points into. A ByteBuffer owns its memory: who
initialises one frees it in __dealloc__.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #ifndef FASTRELAY_DEBUG
    #define FASTRELAY_DEBUG 0
    #endif
    """
    const bint FASTRELAY_DEBUG  # a debug build counts its live objects

ctypedef const unsigned char *bytes_ptr

cdef struct Slice:
    bytes_ptr data
    Py_ssize_t size

cdef struct ByteBuffer:
    unsigned char *data
    Py_ssize_t size
    Py_ssize_t capacity


cdef inline Slice slice_of(bytes_ptr data, Py_ssize_t size) noexcept nogil:
    cdef Slice s
    s.data = data
    s.size = size
    return s


cdef inline Slice slice_bytes(bytes value) noexcept:
    return slice_of(<bytes_ptr><const char *>value, len(value))


cdef inline bytes slice_object(Slice s):
    return (<const char *>s.data)[:s.size]


cdef inline unsigned char lower(unsigned char c) noexcept nogil:
    """ASCII only: bytes above 127 are never mapped (RFC 5321 2.4, and see DESIGN.md 5)."""
    return c | 0x20 if 65 <= c <= 90 else c


cdef inline bint is_digit(unsigned char c) noexcept nogil:
    return 48 <= c <= 57


cdef inline bint is_alpha(unsigned char c) noexcept nogil:
    return 97 <= (c | 0x20) <= 122


cdef inline bint equals_nocase(Slice s, const char *lowered, Py_ssize_t size) noexcept nogil:
    """Does s equal `lowered` (which is in lower case), ASCII case aside?"""
    cdef Py_ssize_t i
    if s.size != size:
        return False
    for i in range(size):
        if lower(s.data[i]) != <unsigned char>lowered[i]:
            return False
    return True


cdef inline void buffer_init(ByteBuffer *b) noexcept nogil:
    b.data = NULL
    b.size = 0
    b.capacity = 0


cdef inline void buffer_free(ByteBuffer *b) noexcept nogil:
    free(b.data)
    buffer_init(b)


cdef inline void buffer_clear(ByteBuffer *b, Py_ssize_t keep) noexcept nogil:
    """Empty it; memory above `keep` bytes is given back."""
    b.size = 0
    if b.capacity > keep:
        buffer_free(b)


cdef inline int buffer_reserve(ByteBuffer *b, Py_ssize_t more) except -1 nogil:
    """Make room for `more` bytes; MemoryError when there is none."""
    cdef Py_ssize_t wanted = b.size + more
    cdef Py_ssize_t capacity
    cdef unsigned char *grown
    if wanted <= b.capacity:
        return 0
    capacity = b.capacity * 2 if b.capacity * 2 > wanted else wanted
    if capacity < 256:
        capacity = 256
    grown = <unsigned char *>realloc(b.data, capacity)
    if grown == NULL:
        with gil:
            raise MemoryError
    b.data = grown
    b.capacity = capacity
    return 0


cdef inline int buffer_append(ByteBuffer *b, bytes_ptr data, Py_ssize_t size) except -1 nogil:
    buffer_reserve(b, size)
    memcpy(b.data + b.size, data, size)
    b.size += size
    return 0


cdef inline int buffer_byte(ByteBuffer *b, unsigned char c) except -1 nogil:
    buffer_reserve(b, 1)
    b.data[b.size] = c
    b.size += 1
    return 0


cdef inline int buffer_number(ByteBuffer *b, long value) except -1 nogil:
    """In decimal."""
    cdef unsigned char digits[24]
    cdef int n = 24
    cdef bint negative = value < 0
    if negative:
        value = -value
    while True:
        n -= 1
        digits[n] = 48 + <unsigned char>(value % 10)
        value //= 10
        if not value:
            break
    if negative:
        n -= 1
        digits[n] = 45
    return buffer_append(b, digits + n, 24 - n)


cdef inline bytes buffer_object(ByteBuffer *b):
    return (<char *>b.data)[:b.size]
