"""A message's contents: from raw DATA or BDAT bytes to a header block and a body.

receive/_session.pyx feeds a ContentScanner what the client sends, in any chunks; _transaction.pyx takes the body
from it, and HeaderCleaner reads its header. Both keep wire form: CRLF lines, dots stuffed, no final dot.
Invariant: only CRLF.CRLF ends the contents (RFC 5321 4.1.1.4), or .CRLF right after the 354. A line that ended
in LF alone is a line all the same, as in Postfix with smtpd_forbid_bare_newline = normalize: its dot is
unstuffed, and a lone dot beside a bare LF is dropped, never an end. A line is stored with a dot in front only
if that dot is followed by another, so the stored form of a message is unique.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcpy

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, buffer_append, buffer_clear, buffer_free, buffer_init, buffer_object, bytes_ptr,
)
from fastrelay.cleanup._header_line cimport header_name_size, is_blank, is_mailbox_line

from fastrelay.borders import Flag

cdef extern from *:
    """
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* Offset of the first CR, LF or NUL, or n; *high is set if a byte above 127 is before it. */
    static inline Py_ssize_t find_special(const unsigned char *p, Py_ssize_t n, int *high) {
        Py_ssize_t i = 0;
        unsigned int above = 0;
    #ifdef __SSE2__
        const __m128i cr = _mm_set1_epi8(13), lf = _mm_set1_epi8(10), nul = _mm_setzero_si128();
        for (; i + 16 <= n; i += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
            unsigned int hit = _mm_movemask_epi8(_mm_or_si128(
                _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, lf)), _mm_cmpeq_epi8(v, nul)));
            unsigned int top = _mm_movemask_epi8(v);
            if (hit) {
                *high = (above | (top & ((hit & -hit) - 1))) != 0;
                return i + __builtin_ctz(hit);
            }
            above |= top;
        }
    #endif
        for (; i < n && p[i] != 13 && p[i] != 10 && p[i] != 0; i++)
            above |= p[i] & 0x80;
        *high = above != 0;
        return i;
    }
    """
    Py_ssize_t find_special(bytes_ptr data, Py_ssize_t size, int *high) noexcept nogil

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize" (const char *data, Py_ssize_t size) except NULL
    int resize_bytes "_PyBytes_Resize" (PyObject **value, Py_ssize_t size) except -1

cdef enum State:
    START  # at the start of a line
    TEXT  # inside a line
    CR  # a CR was seen in a line, not yet stored
    DOT  # a dot was seen at the start of a line, not yet stored
    DOT_CR  # and a CR after it

cdef int EIGHT_BIT_BODY = Flag.EIGHT_BIT_BODY
cdef int EIGHT_BIT_HEADER = Flag.EIGHT_BIT_HEADER
cdef int LONG_LINES = Flag.LONG_LINES

cdef enum:
    LONGEST_LINE = 998  # RFC 5321 4.5.3.1.6

cdef bytes_ptr CRLF = <bytes_ptr>b"\r\n"
cdef bytes_ptr SPACE = <bytes_ptr>b" "
cdef bytes_ptr DOT_TEXT = <bytes_ptr>b".."
cdef int _live = 0


def live_objects() -> int:
    return _live


cdef class ContentScanner:
    """Takes the contents of one message after another; `reset` comes before each."""

    def __cinit__(self, Py_ssize_t size_limit=0):
        global _live
        buffer_init(&self.header)
        self.body = NULL
        self.size_limit = size_limit
        self.reset()
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        buffer_free(&self.header)
        Py_XDECREF(self.body)
        if FASTRELAY_DEBUG:
            _live -= 1

    cdef void reset(self) noexcept:
        self.drop()
        self.size = self.flags = self.seen = 0
        self.line_start = self.line_length = 0
        self.state = START
        self.previous_bare = self.line_high = self.line_nul = self.has_separator = False
        self.in_header = self.leading = True

    cdef void drop(self) noexcept:
        buffer_clear(&self.header, KEPT_HEADER_BUFFER)
        Py_XDECREF(self.body)
        self.body = NULL
        self.body_size = self.body_capacity = 0

    cdef Py_ssize_t feed(self, bytes_ptr data, Py_ssize_t size) except -2:
        """Bytes of `data` up to and with the end of data, or -1 when it is not in it."""
        return self.scan(data, size, True)

    cdef int feed_chunk(self, bytes_ptr data, Py_ssize_t size, bint last) except -1:
        """One BDAT chunk (RFC 3030 2): octets are counted, no dot is stuffed; the last line may lack its CRLF."""
        cdef Cursor c
        self.scan(data, size, False)
        if last and self.state != START:
            self.store(CRLF, 2)
            c.data, c.size, c.at, c.run = data, 0, 0, 0
            self.state = START
            self.end_line(&c)
        return 0

    cdef Py_ssize_t buffered_bytes(self) noexcept:
        return self.header.size + self.body_capacity

    cdef bytes take_body(self):
        """What follows the header and its empty line; it is handed over, not copied."""
        cdef bytes body
        if self.body == NULL:
            return b""
        if self.body_size != self.body_capacity:
            resize_bytes(&self.body, self.body_size)
        body = <bytes>self.body
        Py_XDECREF(self.body)  # the reference that was ours
        self.body = NULL
        self.body_size = self.body_capacity = 0
        return body

    cdef Py_ssize_t scan(self, bytes_ptr data, Py_ssize_t size, bint wire) except -2:
        cdef Cursor c
        cdef bint ended = False
        c.data, c.size, c.at, c.run = data, size, 0, 0
        while c.at < size and not ended:
            if self.state == START and data[c.at] == 46:
                ended = self.start_dot(&c, wire)
            elif self.state <= TEXT:
                self.scan_text(&c)
            elif self.state == CR:
                self.after_cr(&c)
            elif self.state == DOT:
                self.after_dot(&c)
            else:
                ended = self.after_dot_cr(&c)
        if ended:
            return c.at
        if self.state <= TEXT:
            self.flush(&c)
        return -1

    cdef int scan_text(self, Cursor *c) except -1:
        """From inside a line, or the start of one without a dot, over clean lines to what needs a closer look."""
        cdef Py_ssize_t clean
        cdef int high
        while True:
            clean = find_special(c.data + c.at, c.size - c.at, &high)
            c.at += clean
            self.line_length += clean
            if high:
                if self.in_header:
                    self.line_high = True
                else:
                    self.flags |= EIGHT_BIT_BODY
            if c.at == c.size:
                self.state = TEXT
                return 0
            if c.data[c.at] == 13 and c.at + 1 < c.size and c.data[c.at + 1] == 10:
                c.at += 2
                self.state = START
                self.end_line(c)
                if c.at == c.size or c.data[c.at] == 46:
                    return 0
                continue
            self.flush(c)
            self.state = TEXT
            if c.data[c.at] == 13:
                c.at += 1
                c.run = c.at
                self.state = CR
                return 0
            if c.data[c.at] == 10:
                return self.end_bare_line(c)
            if self.in_header:
                self.line_nul = True
            else:
                self.seen |= NUL_IN_BODY
            c.at += 1
            self.replace(c)

    cdef int start_dot(self, Cursor *c, bint wire) except -1:
        """A dot at the start of a line. True if it is the end of data, with c.at after it."""
        if not wire:
            self.flush(c)
            self.store(DOT_TEXT, 1)
            self.size -= 1
            c.at += 1  # the run begins at the dot itself
            self.line_length = 1
            self.state = TEXT
        elif c.at + 1 < c.size and c.data[c.at + 1] == 46:
            self.size -= 1
            c.at += 2
            self.line_length = 1
            self.state = TEXT
        else:
            self.flush(c)
            c.at += 1
            c.run = c.at
            self.state = DOT
        return False

    cdef int after_dot(self, Cursor *c) except -1:
        """A dot was at the start of the line and is not stored: RFC 5321 4.5.2 removes it, unless one follows."""
        c.run = c.at
        if c.data[c.at] == 46:
            self.store(DOT_TEXT, 2)
            self.size -= 1
            self.line_length = 1
            c.at += 1
            c.run = c.at
            self.state = TEXT
        elif c.data[c.at] == 13:
            c.at += 1
            c.run = c.at
            self.state = DOT_CR
        elif c.data[c.at] == 10:  # dot, bare LF: dropped, as Postfix does
            c.at += 1
            c.run = c.at
            self.seen |= BARE_LF
            self.previous_bare = True
            self.state = START
        else:
            self.state = TEXT
        return 0

    cdef int after_dot_cr(self, Cursor *c) except -1:
        """True at the end of data; a lone dot after a line that ended in a bare LF is dropped instead."""
        if c.data[c.at] == 10:
            c.at += 1
            c.run = c.at
            self.state = START
            if not self.previous_bare:
                return True
            self.previous_bare = False
            return False
        self.state = CR
        self.after_cr(c)
        return False

    cdef int after_cr(self, Cursor *c) except -1:
        """A CR is not yet stored: it is half of the line's end, or a stray one."""
        if c.data[c.at] == 10:
            self.store(CRLF, 2)
            c.at += 1
            c.run = c.at
            self.state = START
            return self.end_line(c)
        self.seen |= STRAY_CR
        self.state = TEXT
        return self.replace(c)

    cdef int replace(self, Cursor *c) except -1:
        """The byte before c.at is stored as a space (Postfix's cleanup_replace_stray_cr_lf)."""
        self.store(SPACE, 1)
        self.line_length += 1
        c.run = c.at
        return 0

    cdef int end_bare_line(self, Cursor *c) except -1:
        c.at += 1
        c.run = c.at
        self.store(CRLF, 2)
        self.seen |= BARE_LF
        self.state = START
        self.end_line(c)
        self.previous_bare = True
        return 0

    cdef int end_line(self, Cursor *c) except -1:
        self.previous_bare = False
        if self.line_length > LONGEST_LINE:
            self.flags |= LONG_LINES
        self.line_length = 0
        if self.in_header:
            self.flush(c)
            if self.in_header:  # flush may have found the message too big
                return self.judge_header_line()
        return 0

    cdef int judge_header_line(self) except -1:
        """A line is complete in the header buffer: is it still the header?"""
        cdef bytes_ptr line = self.header.data + self.line_start
        cdef Py_ssize_t size = self.header.size - self.line_start - 2
        cdef bint was_leading = self.leading
        if size and line[0] == 46:
            line += 1
            size -= 1
        self.leading = was_leading and is_mailbox_line(line, size)
        if not self.leading:
            if size == 0:
                self.header.size = self.line_start
                self.has_separator = True
                self.in_header = False
                return 0
            if was_leading and is_blank(line[0]):  # nothing to continue: the header is empty
                return self.start_body()
            if not is_blank(line[0]) and not header_name_size(line, size):
                return self.start_body()
        if self.line_high:
            self.flags |= EIGHT_BIT_HEADER
        if self.line_nul:
            self.seen |= NUL_IN_HEADER
        self.line_high = self.line_nul = False
        self.line_start = self.header.size
        return 0

    cdef int start_body(self) except -1:
        """The line just read is no header: it is the body's first, and an empty line goes in before it."""
        self.in_header = False
        self.has_separator = True
        if self.line_high:
            self.flags |= EIGHT_BIT_BODY
        if self.line_nul:
            self.seen |= NUL_IN_BODY
        self.store_body(self.header.data + self.line_start, self.header.size - self.line_start)
        self.header.size = self.line_start
        return 0

    cdef int flush(self, Cursor *c) except -1:
        """Store what was passed over since the last flush."""
        cdef Py_ssize_t run = c.run
        c.run = c.at
        if run < c.at:
            self.store(c.data + run, c.at - run)
        return 0

    cdef int store(self, bytes_ptr data, Py_ssize_t size) except -1:
        self.size += size
        if self.seen & TOO_BIG:
            return 0
        if self.size_limit and self.size > self.size_limit:
            self.seen |= TOO_BIG
            self.in_header = False
            self.drop()
            return 0
        if self.in_header:
            return buffer_append(&self.header, data, size)
        return self.store_body(data, size)

    cdef int store_body(self, bytes_ptr data, Py_ssize_t size) except -1:
        cdef Py_ssize_t wanted = self.body_size + size
        if self.body == NULL:
            self.body = new_bytes(NULL, wanted)
            self.body_capacity = wanted
        elif wanted > self.body_capacity:
            wanted = wanted + wanted // 2
            self.body_capacity = 0  # _PyBytes_Resize frees it when it fails
            resize_bytes(&self.body, wanted)
            self.body_capacity = wanted
        memcpy(PyBytes_AS_STRING(<object>self.body) + self.body_size, data, size)
        self.body_size += size
        return 0

    # For tests, tools and slow paths.

    def clear(self) -> None:
        self.reset()

    def feed_data(self, const unsigned char[::1] data not None) -> int:
        return self.feed(&data[0], len(data)) if len(data) else -1

    def feed_bdat(self, const unsigned char[::1] data not None, bint last) -> None:
        self.feed_chunk(&data[0] if len(data) else NULL, len(data), last)

    def header_lines(self) -> bytes:
        return buffer_object(&self.header) if self.header.size else b""

    def hand_over_body(self) -> bytes:
        return self.take_body()

    @property
    def buffered(self) -> int:
        return self.buffered_bytes()
