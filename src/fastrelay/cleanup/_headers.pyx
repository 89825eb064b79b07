"""The clean-up of a message's header: headers dropped, added, cut, checked and rewritten as cleanup(8) does it.

receive/_transaction.pyx calls a worker's HeaderCleaner at the end of data with the ContentScanner that holds
the header; what it gives is the header that is stored. Wire form throughout: CRLF lines, dots stuffed.
Invariant: a header that no rule, check or address map concerns leaves as it came, byte for byte, but for blanks
before its colon and what is above header_size_limit; the order stays. RFC 5322 3.6; Postfix's cleanup_message.c.
"""

from libc.string cimport memchr

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, buffer_append, buffer_free, buffer_init, buffer_object, bytes_ptr, equals_nocase, slice_of,
)
from fastrelay.cleanup._address_header cimport AddressHeaders
from fastrelay.cleanup._contents cimport KEPT_HEADER_BUFFER, ContentScanner
from fastrelay.cleanup._header_line cimport header_name_size, is_blank, is_mailbox_line

from fastrelay.cleanup.checks import MIME_HEADERS, wire_form
from fastrelay.cleanup.header_rules import HEADER_RULES, Rule

cdef int FROM = Rule.FROM
cdef int DATE = Rule.DATE
cdef int MESSAGE_ID = Rule.MESSAGE_ID
cdef int VISIBLE_RECIPIENT = Rule.VISIBLE_RECIPIENT
cdef int HOP = Rule.HOP
cdef int RESENT = Rule.RESENT
cdef int SENDER = Rule.SENDER
cdef int ADDRESSES = Rule.SENDER | Rule.RECIPIENT

cdef enum:
    LONGEST_NAME = 64
    LOGGED_MESSAGE_ID = 1000
    MOST_IDS = 20  # Message-Id headers of one message that are logged

cdef bytes_ptr CRLF = <bytes_ptr>b"\r\n"
cdef int _live = 0


def live_objects() -> int:
    return _live


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
        header = buffer_object(&self.out)
        if self.out.capacity > KEPT_HEADER_BUFFER:
            buffer_free(&self.out)
        return header

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
    for i in range(end - value):
        if value[i] < 32 or value[i] == 127:
            break
    else:
        return (<const char *>value)[:end - value]
    text = bytearray((<const char *>value)[:end - value].replace(b"\r\n", b"\n"))
    for i in range(len(text)):
        if text[i] < 32 or text[i] == 127:
            text[i] = 63
    return bytes(text)
