"""The scanner of what comes in after DATA or BDAT, and what it has seen."""

from cpython.object cimport PyObject

from fastrelay._bytes cimport ByteBuffer, bytes_ptr

cdef enum:
    KEPT_HEADER_BUFFER = 8192  # memory for a header that stays from message to message

cdef enum Seen:  # what the reply to the end of data depends on
    BARE_LF = 1  # a line ended in LF alone: stored as CRLF; smtpd_forbid_bare_newline decides about the reply
    STRAY_CR = 2  # a CR before something else than LF: stored as a space
    NUL_IN_HEADER = 4  # stored as a space
    NUL_IN_BODY = 8  # stored as a space
    TOO_BIG = 16  # above size_limit: nothing is kept, the rest is swallowed

cdef struct Cursor:  # where the scanner is in the chunk that it was given; `run` is the first byte not yet stored
    bytes_ptr data
    Py_ssize_t size
    Py_ssize_t at
    Py_ssize_t run

cdef class ContentScanner:
    cdef readonly Py_ssize_t size  # bytes as Postfix counts them: dots unstuffed, CRLF line ends
    cdef readonly int flags  # borders.Flag: EIGHT_BIT_BODY, EIGHT_BIT_HEADER, LONG_LINES
    cdef readonly int seen  # Seen
    cdef readonly bint has_separator  # an empty line, or an inserted one, follows the header
    cdef public Py_ssize_t size_limit  # message_size_limit; 0: none
    cdef ByteBuffer header  # header lines, without the empty line
    cdef PyObject *body  # a bytes object that only we refer to until take_body(), or NULL
    cdef Py_ssize_t body_size
    cdef Py_ssize_t body_capacity
    cdef Py_ssize_t line_start  # of the current line in `header`
    cdef Py_ssize_t line_length
    cdef int state
    cdef bint previous_bare  # the line before ended in LF alone
    cdef bint in_header
    cdef bint leading  # before the first header: mbox lines are still possible
    cdef bint line_high
    cdef bint line_nul

    cdef void reset(self) noexcept
    cdef Py_ssize_t feed(self, bytes_ptr data, Py_ssize_t size) except -2
    cdef int feed_chunk(self, bytes_ptr data, Py_ssize_t size, bint last) except -1
    cdef Py_ssize_t buffered_bytes(self) noexcept
    cdef bytes take_body(self)

    cdef Py_ssize_t scan(self, bytes_ptr data, Py_ssize_t size, bint wire) except -2
    cdef int scan_text(self, Cursor *c) except -1
    cdef int start_dot(self, Cursor *c, bint wire) except -1
    cdef int after_cr(self, Cursor *c) except -1
    cdef int after_dot(self, Cursor *c) except -1
    cdef int after_dot_cr(self, Cursor *c) except -1
    cdef int end_bare_line(self, Cursor *c) except -1
    cdef int replace(self, Cursor *c) except -1
    cdef int end_line(self, Cursor *c) except -1
    cdef int judge_header_line(self) except -1
    cdef int start_body(self) except -1
    cdef int flush(self, Cursor *c) except -1
    cdef int store(self, bytes_ptr data, Py_ssize_t size) except -1
    cdef int store_body(self, bytes_ptr data, Py_ssize_t size) except -1
    cdef void drop(self) noexcept
