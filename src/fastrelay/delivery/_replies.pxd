"""The reader of a server's replies."""

from fastrelay._bytes cimport bytes_ptr

cdef enum Found:  # instead of a code
    NOTHING = 0  # no reply is whole
    NO_REPLY = 1  # a line that is none, or too much
    UNASKED = 2  # more input when no reply is owed

cdef class ReplyReader:
    cdef bytes_ptr text  # of what was found, until the next call
    cdef Py_ssize_t size
    cdef bytes data  # what was fed last
    cdef bytes_ptr at, end  # what is left of it
    cdef bytes partial  # the beginning of a line
    cdef bytes joined  # the last reply of several lines
    cdef list lines  # of a reply that is not whole, or None
    cdef int lines_seen
    cdef Py_ssize_t lines_size

    cdef int feed(self, bytes data) except -1
    cdef int next(self, bint owed) except -1
    cdef int clear(self) except -1

    cdef int refuse(self, bytes text) noexcept
    cdef int keep_line(self) except -1
    cdef int join_lines(self) except -1
