"""A message's contents: from raw DATA or BDAT bytes to a header block and a body, and the header's clean-up.

`_core` feeds a ContentScanner what the client sends, in any chunks, and takes the body from it; then the
HeaderCleaner makes the header that is stored. Both keep wire form: CRLF lines, dots stuffed, no final dot.
Invariant: only CRLF.CRLF ends the contents (RFC 5321 4.1.1.4), or .CRLF right after the 354. A line that ended
in LF alone is a line all the same, as in Postfix with smtpd_forbid_bare_newline = normalize: its dot is
unstuffed, and a lone dot beside a bare LF is dropped, never an end. A line is stored with a dot in front only
if that dot is followed by another, so the stored form of a message is unique.
Above 500 lines because scanner and cleaner share the raw header buffer, which no other module is to see.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memchr, memcmp, memcpy

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, buffer_append, buffer_clear, buffer_free, buffer_init,
    buffer_object, bytes_ptr, equals_nocase, slice_of,
)

from fastrelay.cleanup._address_header cimport AddressHeaders

from fastrelay.borders import Flag
from fastrelay.cleanup.checks import MIME_HEADERS, wire_form
from fastrelay.cleanup.header_rules import HEADER_RULES, Rule

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
cdef int FROM = Rule.FROM
cdef int DATE = Rule.DATE
cdef int MESSAGE_ID = Rule.MESSAGE_ID
cdef int VISIBLE_RECIPIENT = Rule.VISIBLE_RECIPIENT
cdef int HOP = Rule.HOP
cdef int RESENT = Rule.RESENT
cdef int SENDER = Rule.SENDER
cdef int ADDRESSES = Rule.SENDER | Rule.RECIPIENT

cdef enum:
    LONGEST_LINE = 998  # RFC 5321 4.5.3.1.6
    LONGEST_NAME = 64
    KEPT_HEADER_BUFFER = 8192
    LOGGED_MESSAGE_ID = 1000
    MOST_IDS = 20  # Message-Id headers of one message that are logged

cdef bytes_ptr CRLF = <bytes_ptr>b"\r\n"
cdef bytes_ptr SPACE = <bytes_ptr>b" "
cdef bytes_ptr DOT_TEXT = <bytes_ptr>b".."
cdef int _live = 0


def live_objects() -> int:
    return _live


cdef inline bint is_blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9


cdef Py_ssize_t header_name_size(bytes_ptr line, Py_ssize_t size) noexcept nogil:
    """Length of the header's name if the line starts a header, else 0: Postfix's is_header()."""
    cdef Py_ssize_t i = 0, name
    while i < size and 33 <= line[i] <= 126 and line[i] != 58:
        i += 1
    name = i
    while i < size and is_blank(line[i]):
        i += 1
    return name if i < size and line[i] == 58 else 0


cdef bint is_mailbox_line(bytes_ptr line, Py_ssize_t size) noexcept nogil:
    """`From ` or `>From ` before the first header, as Unix mailboxes have it."""
    while size and line[0] == 62:
        line += 1
        size -= 1
    return size >= 5 and memcmp(line, <const char *>b"From ", 5) == 0


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


cdef class HeaderCleaner:
    """Makes the header that is stored: one for each worker, its settings fixed; results stay until the next call."""

    def __init__(self, drop_headers, Py_ssize_t header_size_limit, bytes undisclosed_header, bytes host):
        """`undisclosed_header` and `host` are undisclosed_recipients_header and myhostname."""
        cdef Py_ssize_t length
        cdef int i = 0
        dropped = {bytes(name).lower() for name in drop_headers}
        self.names = sorted(dropped | set(HEADER_RULES), key=len)
        if len(self.names) > 64 or max(map(len, self.names)) > LONGEST_NAME:
            raise ValueError("message_drop_headers: too many names, or one that is too long")
        if undisclosed_header and not header_name_size(undisclosed_header, len(undisclosed_header)):
            raise ValueError("undisclosed_recipients_header: need headername: headervalue")
        for length in range(LONGEST_NAME + 2):
            while i < len(self.names) and len(self.names[i]) < length:
                i += 1
            self.first_of_length[length] = i
        for i, name in enumerate(self.names):
            self.table[i].name = <bytes_ptr><bytes>name
            self.table[i].size = len(name)
            self.table[i].rule = HEADER_RULES.get(name, 0)
            self.table[i].dropped = name in dropped
        self.header_size_limit = header_size_limit
        self.undisclosed = undisclosed_header
        self.host = host

    def __cinit__(self):
        global _live
        buffer_init(&self.out)
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        buffer_free(&self.out)
        if FASTRELAY_DEBUG:
            _live -= 1

    cdef bytes clean(
        self, ContentScanner content, bytes received, AddressHeaders addresses, object inspector, bint add_missing,
        bytes sender, bytes queue_id, bytes date, bytes stamp,
    ):
        """The header block to store, up to and with the empty line if there is one.

        `received` is the whole new header with its CRLF. `stamp` is YYYYMMDDHHMMSS of the arrival in UTC, or b""
        with long queue ids. Only add_missing makes use of the last four. An `inspector` that has stopped makes
        the result worthless; the headers that it has not seen are not looked at.
        """
        self.hops = 1 if inspector is None else 0
        self.message_ids = []
        self.plain = self.resent = 0
        self.is_resent = False
        self.addresses, self.inspector = addresses, inspector
        self.out.size = 0
        if inspector is None:
            buffer_append(&self.out, <bytes_ptr>received, len(received))
        else:
            self.copy_headers(<bytes_ptr>received, <bytes_ptr>received + len(received), False)
        self.copy_headers(content.header.data, content.header.data + content.header.size, True)
        if add_missing and (inspector is None or not inspector.stopped):
            self.add_headers(sender, queue_id, date, stamp)
        if content.has_separator:
            buffer_append(&self.out, CRLF, 2)
        try:
            return buffer_object(&self.out)
        finally:
            if self.out.capacity > KEPT_HEADER_BUFFER:
                buffer_free(&self.out)

    cdef int copy_headers(self, bytes_ptr at, bytes_ptr end, bint leading) except -1:
        """Split the block into headers with their continuation lines; mbox lines come first if at all."""
        cdef bytes_ptr start, text, line_end
        cdef Py_ssize_t name_size
        while at < end:
            if self.inspector is not None and self.inspector.stopped:
                return 0
            start = at
            text = at + 1 if at[0] == 46 else at  # unstuffed
            line_end = <bytes_ptr>memchr(at, 10, end - at)
            name_size = header_name_size(text, line_end - text - 1)
            at = line_end + 1
            while at < end and is_blank(at[0]):
                at = <bytes_ptr>memchr(at, 10, end - at) + 1
            leading = leading and is_mailbox_line(text, line_end - text)
            if leading:
                line = b"X-Mailbox-Line: " + (<const char *>text)[:at - text]
                if self.inspector is None:
                    self.add(line)
                else:
                    self.inspect(<bytes_ptr><bytes>line, <bytes_ptr><bytes>line + len(line), 14)
            elif self.inspector is None:
                self.copy_header(start, at, name_size + (text - start))
            else:
                self.inspect(start, at, name_size + (text - start))
        return 0

    cdef int inspect(self, bytes_ptr start, bytes_ptr end, Py_ssize_t name_size) except -1:
        """Show the header to the inspector, and write what it says."""
        cdef bytes value = (<const char *>(start + name_size))[:end - 2 - start - name_size].lstrip(b" \t")
        cdef bytes name = (<const char *>start)[:name_size]
        cdef bytes text = (name + value.replace(b"\r\n", b"\n"))[:self.header_size_limit]
        cdef bytes answer, wire
        cdef HeaderName *known = self.find(start, name_size)
        if text[:1] == b".":
            text = text[1:]
        if known != NULL and known.rule & HOP:
            self.hops += 1  # whatever becomes of it
        answer = self.inspector.header(text)
        for line in self.inspector.prepended:
            self.add(wire_form(line, False))
        if answer is None:
            return 0
        if answer is text:
            return self.copy_header(start, end, name_size)
        wire = wire_form(answer, False)
        if name.lower() in MIME_HEADERS:
            return self.add(wire)  # no part of what the message's own header says
        name_size = wire.index(b":")  # the blanks before it stay
        return self.copy_header(<bytes_ptr>wire, <bytes_ptr>wire + len(wire), name_size)

    cdef int copy_header(self, bytes_ptr start, bytes_ptr end, Py_ssize_t name_size) except -1:
        """One header with its last CRLF; blanks before the colon go, what is above header_size_limit goes."""
        cdef bytes_ptr value = start + name_size
        cdef HeaderName *known = self.find(start, name_size)
        cdef Py_ssize_t room = self.header_size_limit - name_size + (start[0] == 46)  # a stuffed dot does not count
        while is_blank(value[0]):
            value += 1
        if known != NULL:
            self.note(known.rule, value + 1, end - 2)
            if known.dropped:
                return 0
        if end - 2 - value > room:
            end = value + (room if room > 1 else 1)
            while (end - 1)[0] == 13 or (end - 1)[0] == 10:
                end -= 1
            if self.rewrite(start, name_size, known, value + 1, end):
                return 0
            buffer_append(&self.out, start, name_size)
            buffer_append(&self.out, value, end - value)
            return buffer_append(&self.out, CRLF, 2)
        if self.rewrite(start, name_size, known, value + 1, end - 2):
            return 0
        if value == start + name_size:
            return buffer_append(&self.out, start, end - start)
        buffer_append(&self.out, start, name_size)
        return buffer_append(&self.out, value, end - value)

    cdef bint rewrite(
        self, bytes_ptr name, Py_ssize_t name_size, HeaderName *known, bytes_ptr value, bytes_ptr end,
    ) except -1:
        """Write the header with its addresses rewritten; False: there are none, or all stay as they are."""
        if self.addresses is None or known == NULL or not known.rule & ADDRESSES:
            return False
        return self.addresses.rewrite(name, name_size, value, end - value, known.rule & SENDER, &self.out)

    cdef HeaderName *find(self, bytes_ptr name, Py_ssize_t size) noexcept:
        cdef int i
        if size <= LONGEST_NAME:
            for i in range(self.first_of_length[size], self.first_of_length[size + 1]):
                if equals_nocase(slice_of(name, size), <const char *>self.table[i].name, size):
                    return &self.table[i]
        return NULL

    cdef int note(self, int rule, bytes_ptr value, bytes_ptr end) except -1:
        if rule & HOP and self.inspector is None:
            self.hops += 1
        if rule & RESENT:
            self.is_resent = True
            self.resent |= rule
        else:
            self.plain |= rule
        return self.note_id(rule & RESENT, loggable(value, end)) if rule & MESSAGE_ID else 0

    cdef int note_id(self, bint resent, bytes value) except -1:
        """Each is logged, as Postfix does, but no flood of them."""
        if len(self.message_ids) == MOST_IDS:
            return 0
        self.message_ids.append((resent, value))
        if self.inspector is not None:
            self.inspector.message_id(resent, value)
        return 0

    cdef int add_headers(self, bytes sender, bytes queue_id, bytes date, bytes stamp) except -1:
        """Postfix's cleanup_header_done_callback(): order and form are its own."""
        cdef int seen = self.resent if self.is_resent else self.plain
        cdef bytes prefix = b"Resent-" if self.is_resent else b""
        cdef bytes message_id
        if not seen & MESSAGE_ID:
            message_id = b"<%b%b%b@%b>" % (stamp, b"." if stamp else b"", queue_id, self.host)
            self.add(b"%bMessage-Id: %b\r\n" % (prefix, message_id))
            self.note_id(self.is_resent, message_id)
        if not seen & DATE:
            self.add(b"%bDate: %b\r\n" % (prefix, date))
        if not seen & FROM:
            self.add(b"%bFrom: %b\r\n" % (prefix, sender or b"MAILER-DAEMON"))
        if self.undisclosed and not (self.plain | self.resent) & VISIBLE_RECIPIENT:
            self.add(b"%b\r\n" % self.undisclosed)
        return 0

    cdef int add(self, bytes text) except -1:
        return buffer_append(&self.out, <bytes_ptr>text, len(text))

    def clean_header(
        self, ContentScanner content not None, bytes received, bint add_missing=False,
        bytes sender=b"", bytes queue_id=b"", bytes date=b"", bytes stamp=b"", AddressHeaders addresses=None,
        inspector=None,
    ) -> bytes:
        return self.clean(content, received, addresses, inspector, add_missing, sender, queue_id, date, stamp)


cdef bytes loggable(bytes_ptr value, bytes_ptr end):
    """A header's value for the log: one line, bounded, controls shown as Postfix shows them."""
    cdef bytearray text
    cdef Py_ssize_t i
    while value < end and (is_blank(value[0]) or value[0] == 13 or value[0] == 10):
        value += 1
    if end - value > LOGGED_MESSAGE_ID:
        end = value + LOGGED_MESSAGE_ID
    text = bytearray((<const char *>value)[:end - value].replace(b"\r\n", b"\n"))
    for i in range(len(text)):
        if text[i] < 32 or text[i] == 127:
            text[i] = 63
    return bytes(text)
