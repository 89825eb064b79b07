"""A server's replies, from the bytes of its connection: RFC 5321 4.2, and Postfix's smtp_chat_resp().

A Dialogue feeds its ReplyReader each read, and takes one whole reply after another from it: the code, and the
text, in which lines are joined by blanks. What is no reply is told, not mended: the caller ends the connection
then, and reads no more. Replies do not depend on how the bytes were cut into reads.
Invariant: what waits for the rest of a reply is bounded, by REPLY_LINE_LIMIT a line and in all, and by REPLY_LINES.
"""

cimport cython
from libc.string cimport memchr

from fastrelay._bytes cimport FASTRELAY_DEBUG, bytes_ptr, is_digit

cdef enum:
    REPLY_LINE_LIMIT = 2048  # Postfix's line_length_limit (reliability O04)
    REPLY_LINES = 100

cdef bytes LONG_LINE = b"reply line too long"
cdef bytes MANY_LINES = b"too many reply lines"
cdef int _live = 0


def live_objects():
    """Readers alive; counted in a debug build only."""
    return _live


cdef inline bint is_reply_line(bytes_ptr line, Py_ssize_t size) noexcept nogil:
    """Three digits, the first of them 2 to 5, and nothing, a blank or a hyphen."""
    if not (size >= 3 and is_digit(line[0]) and is_digit(line[1]) and is_digit(line[2]) and 50 <= line[0] <= 53):
        return False
    return size == 3 or line[3] == 32 or line[3] == 45


@cython.final
cdef class ReplyReader:
    """The replies of one connection."""

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        self.partial = b""

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1

    cdef int feed(self, bytes data) except -1:
        if self.partial:
            data = self.partial + data
            self.partial = b""
        self.data = data
        self.at = <bytes_ptr><const char *>data
        self.end = self.at + len(data)
        return 0

    cdef int clear(self) except -1:
        """Forget what has not become a reply."""
        self.partial = b""
        self.lines = None
        return 0

    cdef int next(self, bint owed) except -1:
        """The code of the next whole reply, or Found; `text` has its lines, or what is wrong."""
        cdef bytes_ptr start = self.at
        cdef bytes_ptr end = self.end
        cdef bytes_ptr newline
        cdef bytes_ptr stop
        while start < end:
            newline = <bytes_ptr>memchr(start, 10, end - start)
            if (newline if newline != NULL else end) - start > REPLY_LINE_LIMIT:
                return self.refuse(LONG_LINE)
            if not owed:
                self.text, self.size = start, end - start
                return UNASKED
            if newline == NULL:
                self.partial = (<const char *>start)[:end - start]
                break
            stop = newline
            while stop > start and ((stop - 1)[0] == 13 or (stop - 1)[0] == 32):
                stop -= 1
            self.text, self.size = start, stop - start
            if not is_reply_line(start, stop - start):
                return NO_REPLY
            if stop - start == 3 or start[3] == 32:
                self.at = newline + 1
                if self.lines is not None:
                    self.join_lines()
                return (start[0] - 48) * 100 + (start[1] - 48) * 10 + start[2] - 48
            if self.lines is None:
                self.lines, self.lines_seen, self.lines_size = [], 0, 0
            elif self.lines_seen >= REPLY_LINES:
                return self.refuse(MANY_LINES)
            self.keep_line()
            start = newline + 1
        self.data = None
        self.at = self.end
        return NOTHING

    cdef int refuse(self, bytes text) noexcept:
        self.text, self.size = <bytes_ptr><const char *>text, len(text)
        return NO_REPLY

    cdef int keep_line(self) except -1:
        """As Postfix, no line after the limit: each recipient's verdict holds the whole reply."""
        self.lines_seen += 1
        if self.lines_size < REPLY_LINE_LIMIT:
            self.lines_size += self.size
            self.lines.append((<const char *>self.text)[:self.size])
        return 0

    cdef int join_lines(self) except -1:
        """The last line of a reply has come."""
        self.keep_line()
        self.joined = b" ".join(self.lines)
        self.lines = None
        self.text, self.size = <bytes_ptr><const char *>self.joined, len(self.joined)
        return 0

    # For tests.

    def read(self, bytes data, Py_ssize_t owed) -> list:
        """(code, text) of what `data` completes; what ends the connection has a code below 100 and is the last."""
        cdef list found = []
        cdef int code = 200
        self.feed(data)
        while code >= 200:
            code = self.next(len(found) < owed)
            if code != NOTHING:
                found.append((code, (<const char *>self.text)[:self.size]))
        return found
