"""Sets of recipients, a bit for each: inline, shared by the compiled files. There is no _bits.pyx."""

from libc.stdint cimport uint32_t, uint64_t


cdef inline Py_ssize_t words(uint32_t count) noexcept nogil:
    return (<Py_ssize_t>count + 63) >> 6


cdef inline bint test_bit(const uint64_t *bits, uint32_t i) noexcept nogil:
    return (bits[i >> 6] >> (i & 63)) & 1


cdef inline void clear_bit(uint64_t *bits, uint32_t i) noexcept nogil:
    bits[i >> 6] &= ~(<uint64_t>1 << (i & 63))


cdef inline void set_bit(uint64_t *bits, uint32_t i) noexcept nogil:
    bits[i >> 6] |= <uint64_t>1 << (i & 63)


cdef inline bint is_empty(const uint64_t *bits, uint32_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(words(count)):
        if bits[i]:
            return False
    return True


cdef inline void clear_beyond(uint64_t *bits, uint32_t count) noexcept nogil:
    """A bit that stands for no recipient would keep a message for ever."""
    if count & 63:
        bits[count >> 6] &= (<uint64_t>1 << (count & 63)) - 1
