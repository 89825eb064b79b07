"""Leaves of the SMTP command language, shared with `_core`: they keep nothing and raise nothing."""

from libc.stdint cimport uint64_t

from fastrelay._bytes cimport Slice

cdef enum Number:
    NUMBER_OK
    NUMBER_BAD
    NUMBER_TOO_BIG

cdef int verb_of(Slice word) noexcept nogil
cdef bint ends_group(int verb) noexcept nogil
cdef bint is_junk(int verb) noexcept nogil
cdef Slice next_word(Slice *rest) noexcept nogil
cdef bint split_parameter(Slice parameter, Slice *keyword, Slice *value) noexcept nogil
cdef Number parse_number(Slice text, uint64_t *value) noexcept nogil
cdef bint valid_utf8(Slice text) noexcept nogil
cdef bint valid_xtext(Slice text) noexcept nogil
cdef bint has_control(Slice text) noexcept nogil
cdef bint skip_keyword(Slice *rest, const char *keyword, Py_ssize_t size) noexcept nogil
