"""The MIME structure of a message: where its parts' headers and its body's lines are, for the checks.

cleanup/checks.py calls `scan` once a message, and only when a check or a strict_ parameter asks for it. The
contents are in wire form (CRLF, dots stuffed) and stay as they are; what is found is a list of places.
As in Postfix (mime_state.c) boundaries are compared up to mime_boundary_length_limit bytes, one that is missing
is made up for by an outer one, and lines are looked at in pieces of line_length_limit bytes.
Linear in the body's length times the depth of the boundaries, which mime_nesting_limit bounds. RFC 2045, 2046.
"""

from libc.string cimport memchr, memcmp

from fastrelay._bytes cimport FASTRELAY_DEBUG, bytes_ptr, equals_nocase, slice_of
from fastrelay.cleanup._header_line cimport header_name_size

import enum

from fastrelay.cleanup.content_type import Encoding, Kind, read_content_type, read_encoding


class Found(enum.IntEnum):
    """What stands at a place."""

    MIME_HEADER = 1  # one header with its continuation lines, in a part or about MIME
    NESTED_HEADER = 2  # one header of a message inside the message
    LINE = 3  # a line of the body or a piece of one
    TOO_DEEP = 4  # an error, about the text at the place
    EIGHT_BIT_BODY = 5  # likewise
    WRONG_DOMAIN = 6  # likewise; instead of a place: an Encoding and 0


cdef enum State:
    BODY, MULTIPART_HEADER, NESTED_HEADER

cdef int IS_MIME = Found.MIME_HEADER
cdef int IS_NESTED = Found.NESTED_HEADER
cdef int IS_LINE = Found.LINE
cdef int LEAF = Kind.LEAF
cdef int MULTIPART = Kind.MULTIPART
cdef int MESSAGE = Kind.MESSAGE
cdef int GLOBAL = Kind.GLOBAL
cdef int SEVEN_BIT = Kind.SEVEN_BIT
cdef int _live = 0


def live_objects() -> int:
    return _live


cdef bint is_named(bytes_ptr line, Py_ssize_t size, const char *lowered, Py_ssize_t length) noexcept:
    return equals_nocase(slice_of(line, size), lowered, length)


cdef bint is_about_mime(bytes_ptr line, Py_ssize_t size) noexcept:
    """The headers that mime_header_checks see wherever they are (header_opts.c)."""
    if size == 12 and is_named(line, size, b"mime-version", 12):
        return True
    if size < 10 or not is_named(line, 8, b"content-", 8):
        return False
    return is_named(line, size, b"content-type", 12) or is_named(line, size, b"content-id", 10) or (
        is_named(line, size, b"content-description", 19) or is_named(line, size, b"content-disposition", 19) or
        is_named(line, size, b"content-transfer-encoding", 25))


cdef class MimeScanner:
    """Made at load; `scan` keeps nothing."""

    cdef Py_ssize_t nesting_limit, boundary_limit, line_limit, body_limit
    cdef bint disabled, want_headers, want_lines, report_eight_bit, report_domain, report_nesting
    cdef bytes body
    cdef bytes_ptr data
    cdef list found
    cdef list stack  # of (boundary, is it a digest's)
    cdef int state, kind, encoding
    cdef bint eight_bit_seen
    cdef Py_ssize_t offset  # in this part of the body, as body_checks_size_limit counts
    cdef Py_ssize_t header_start  # of the header at hand, -1: none
    cdef Py_ssize_t header_end

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1

    def __init__(
        self, *, Py_ssize_t nesting_limit=100, Py_ssize_t boundary_limit=2048, Py_ssize_t line_limit=2048,
        Py_ssize_t body_limit=51200, bint disabled=False, bint want_headers=False, bint want_lines=False,
        bint report_eight_bit=False, bint report_domain=False, bint report_nesting=False,
    ):
        self.nesting_limit, self.boundary_limit, self.line_limit = nesting_limit, boundary_limit, line_limit
        self.body_limit, self.disabled = body_limit, disabled
        self.want_headers, self.want_lines = want_headers, want_lines
        self.report_eight_bit, self.report_domain, self.report_nesting = report_eight_bit, report_domain, report_nesting

    def scan(self, list headers not None, bytes body not None):
        """[(Found, start, end)] in the body's order; `headers` are the message's own Content- headers.

        They are (name in lower case, value). A place is in wire form and without its CRLF.
        """
        self.body, self.data = body, <bytes_ptr>body
        self.found, self.stack = [], []
        self.state, self.kind, self.encoding = BODY, LEAF, 0
        self.eight_bit_seen = False
        self.offset, self.header_start = 0, -1
        for name, value in headers:
            if not self.disabled:
                self.read_header(name == b"content-type", value, 0, 0)
        self.end_header(True)
        self.offset = 1  # the empty line before the body counts, the one behind a part's header does not
        self.scan_lines(len(body))
        result, self.found, self.stack, self.body = self.found, None, None, None
        return result

    cdef int scan_lines(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t at = 0, end
        cdef bytes_ptr feed
        while at < size:
            feed = <bytes_ptr>memchr(self.data + at, 10, size - at)
            end = size if feed == NULL else feed - self.data + 1
            self.take_line(at, end - 2 if feed != NULL else end)
            at = end
        self.flush_header()
        return self.end_header(False) if self.state != BODY else 0

    cdef int take_line(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """One line in the wire form [start, end); a stuffed dot is not part of it."""
        cdef Py_ssize_t text = start + 1 if start < end and self.data[start] == 46 else start
        cdef Py_ssize_t name
        if self.state != BODY:
            if self.header_start >= 0:
                if text < end and (self.data[text] == 32 or self.data[text] == 9):
                    self.header_end = end
                    return 0
                self.flush_header()
            name = header_name_size(self.data + text, end - text)
            if name:
                self.header_start, self.header_end = start, end
                return 0
            self.end_header(text == end)
        return self.take_body_line(start, text, end)

    cdef int flush_header(self) except -1:
        """The header at hand is complete."""
        cdef Py_ssize_t start = self.header_start, end = self.header_end, text, size
        cdef bytes_ptr line
        if start < 0:
            return 0
        self.header_start = -1
        text = start + 1 if self.data[start] == 46 else start
        line = self.data + text
        size = header_name_size(line, end - text)
        if is_named(line, size, b"content-type", 12):
            self.read_header(True, self.value_of(text + size, end), text, end)
        elif is_named(line, size, b"content-transfer-encoding", 25):
            self.read_header(False, self.value_of(text + size, end), text, end)
        if self.want_headers:
            mime = self.state == MULTIPART_HEADER or is_about_mime(line, size)
            self.found.append((IS_MIME if mime else IS_NESTED, start, end))
        return 0

    cdef bytes value_of(self, Py_ssize_t at, Py_ssize_t end):
        while self.data[at] != 58:
            at += 1
        return self.body[at + 1:end]

    cdef int read_header(self, bint is_type, bytes value, Py_ssize_t start, Py_ssize_t end) except -1:
        if not is_type:
            encoding = read_encoding(value)
            if encoding is not None:
                self.encoding = encoding
            return 0
        self.kind, digest, boundaries = read_content_type(value)
        for boundary in boundaries:
            if len(self.stack) <= self.nesting_limit + 1:  # Postfix counts from -1
                self.stack.append((boundary[:self.boundary_limit], digest))
            elif self.report_nesting:
                self.found.append((Found.TOO_DEEP, start, end))
        return 0

    cdef int end_header(self, bint empty_line) except -1:
        """A block of headers ends, with an empty line or without."""
        if self.report_domain and self.wrong_domain():
            self.found.append((Found.WRONG_DOMAIN, self.encoding, 0))
        self.offset = 0
        self.state = BODY
        if not empty_line:
            return 0
        if self.kind == MESSAGE or self.kind == GLOBAL:
            self.begin(NESTED_HEADER, LEAF)
        elif self.kind == MULTIPART:
            self.begin(BODY, LEAF)
        return 0

    cdef bint wrong_domain(self) except -1:
        if self.kind == SEVEN_BIT:
            return self.encoding == Encoding.EIGHT_BIT or self.encoding == Encoding.BINARY
        return (self.kind == MULTIPART or self.kind == MESSAGE) and self.encoding >= Encoding.BASE64

    cdef void begin(self, int state, int kind) noexcept:
        self.state, self.kind = state, kind
        self.encoding = 0
        if state == BODY:
            self.offset = 0  # a boundary that begins a part still counts as the end of what is before it

    cdef int take_body_line(self, Py_ssize_t start, Py_ssize_t text, Py_ssize_t end) except -1:
        cdef Py_ssize_t piece = text, stop
        cdef bint high = self.report_eight_bit and not self.eight_bit_seen and self.encoding == 0
        if self.stack and end - text > 2 and self.data[text] == 45 and self.data[text + 1] == 45:
            self.find_boundary(text + 2, end)
        if not self.want_lines and not high:
            return 0
        while True:
            stop = end if end - piece <= self.line_limit else piece + self.line_limit
            if high:
                self.look_for_eight_bits(piece, stop)
            if self.want_lines and stop > piece and (self.body_limit == 0 or self.offset < self.body_limit):
                self.found.append((IS_LINE, start if piece == text else piece, stop))
            self.offset += stop - piece + 1
            if stop == end:
                return 0
            piece = stop

    cdef int look_for_eight_bits(self, Py_ssize_t at, Py_ssize_t end) except -1:
        cdef Py_ssize_t i
        for i in range(at, end):
            if self.data[i] > 127:
                if not self.eight_bit_seen:
                    self.found.append((Found.EIGHT_BIT_BODY, at, end))
                self.eight_bit_seen = True
                return 0
        return 0

    cdef int find_boundary(self, Py_ssize_t at, Py_ssize_t end) except -1:
        """Does a boundary of this part, or of one around it, stand at `at`? The inner ones end with it."""
        cdef Py_ssize_t i = len(self.stack) - 1, size
        cdef bytes boundary
        while i >= 0:
            boundary, digest = self.stack[i]
            size = len(boundary)
            if end - at >= size and memcmp(self.data + at, <const char *>boundary, size) == 0:
                if end - at >= size + 2 and self.data[at + size] == 45 and self.data[at + size + 1] == 45:
                    del self.stack[i:]
                    self.begin(BODY, LEAF)
                else:
                    del self.stack[i + 1:]
                    self.begin(MULTIPART_HEADER, MESSAGE if digest else LEAF)
                return 0
            i -= 1
        return 0
