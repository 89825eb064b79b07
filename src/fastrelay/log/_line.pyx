"""The mail log on its hot path: a line's text made in one buffer, and appended to what waits to be written.

lines.py hands out the makers, each a bytes object in Postfix's form; MailLog (maillog.py) is a LineBuffer
that knows clock, prefixes and sinks. Invariant: what is appended is one line: printable ASCII is copied,
a control byte shows as `?`, anything above 127 goes through printable().
"""

from libc.math cimport floor

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, buffer_append, buffer_byte, buffer_free, buffer_init, buffer_number, buffer_object,
    bytes_ptr,
)

from fastrelay.log.printable import LONGEST_TEXT, printable

cdef extern from *:
    """
    #ifdef __SSE2__
    #include <emmintrin.h>
    #endif
    /* Is every byte from 32 to 126? As signed numbers, those below 32 or above 127 are less than 32. */
    static inline int is_plain(const unsigned char *p, Py_ssize_t n) {
        Py_ssize_t i = 0;
    #ifdef __SSE2__
        const __m128i blank = _mm_set1_epi8(32), del = _mm_set1_epi8(127);
        for (; i + 16 <= n; i += 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
            if (_mm_movemask_epi8(_mm_or_si128(_mm_cmplt_epi8(v, blank), _mm_cmpeq_epi8(v, del))))
                return 0;
        }
    #endif
        for (; i < n; i++)
            if (p[i] < 32 || p[i] > 126)
                return 0;
        return 1;
    }
    """
    bint is_plain(bytes_ptr text, Py_ssize_t size) noexcept nogil

cdef extern from "<time.h>" nogil:
    ctypedef long time_t
    time_t time(time_t *now)

cdef Py_ssize_t LONGEST = LONGEST_TEXT
cdef Py_ssize_t KEPT = 1 << 16  # a larger text buffer is given back
cdef int _live = 0
cdef ByteBuffer _text  # the line that is being made: the interpreter's lock is held from begin to end
buffer_init(&_text)


def live_objects():
    """LineBuffers alive; counted in a debug build only."""
    return _live


cdef class LineBuffer:
    """Lines that wait. The owner gives `_turn`, `_make_prefix`, `flush`, and `_queue_datagram` for syslog."""

    cdef ByteBuffer _pending
    cdef dict _prefixes
    cdef object _clock  # None: the system's
    cdef time_t _second
    cdef bint _asked, _to_file
    cdef Py_ssize_t _flush_size
    cdef public object wants_flush

    def __cinit__(self):
        global _live
        buffer_init(&self._pending)
        self._prefixes = {}
        self._second = -1
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        buffer_free(&self._pending)
        if FASTRELAY_DEBUG:
            _live -= 1

    def prepare(self, clock, bint to_file, Py_ssize_t flush_size, wants_flush):
        """`clock` None: time(2). `flush_size`: bytes above which flush() is called at once."""
        self._clock, self._to_file, self._flush_size, self.wants_flush = clock, to_file, flush_size, wants_flush

    def line(self, bytes service not None, bytes text not None, int level=6):
        """`service`: master.cf's command name, or a whole name with slashes where -o syslog_name is set."""
        cdef time_t second = time(NULL) if self._clock is None else <time_t>self._clock()
        cdef bytes prefix
        if second != self._second:
            self._second = second
            self._prefixes.clear()
            self._turn(second)
        prefix = self._prefixes.get(service)
        if prefix is None:
            prefix = self._prefixes[service] = self._make_prefix(service)
        if not self._to_file:
            self._queue_datagram(level, prefix + printable(text))
        else:
            self._append(prefix, text)
            if self._pending.size >= self._flush_size:
                self.flush()
                return
        if not self._asked:
            self._asked = True
            self.wants_flush()

    def flushing(self):
        """What waits is about to be written: the next line asks for a flush again."""
        self._asked = False

    @property
    def waiting(self):
        """Bytes that wait."""
        return self._pending.size

    def take(self):
        """All that waits, which waits no longer."""
        cdef bytes taken = buffer_object(&self._pending)
        self._pending.size = 0
        if self._pending.capacity > KEPT * 4:
            buffer_free(&self._pending)
        return taken

    def put_back(self, bytes rest not None):
        """What of take() could not be written; nothing was added meanwhile."""
        buffer_append(&self._pending, <bytes_ptr><const char *>rest, len(rest))

    cdef int _append(self, bytes prefix, bytes text) except -1:
        if len(text) >= LONGEST or not is_plain(<bytes_ptr><const char *>text, len(text)):
            text = printable(text)
        buffer_append(&self._pending, <bytes_ptr><const char *>prefix, len(prefix))
        buffer_append(&self._pending, <bytes_ptr><const char *>text, len(text))
        return buffer_byte(&self._pending, 10)


# The texts ----------------------------------------------------------------------------------------

cdef inline int _put(bytes text) except -1:
    return buffer_append(&_text, <bytes_ptr><const char *>text, len(text))


cdef inline int _say(const char *text, Py_ssize_t size) except -1:
    return buffer_append(&_text, <bytes_ptr>text, size)


cdef inline int _number(long value) except -1:
    return buffer_number(&_text, value)


cdef int _fraction(long value, int places) except -1:
    """`value` / 10**places without trailing zeros."""
    cdef long whole = value // 100 if places == 2 else value // 10
    cdef long rest = value % 100 if places == 2 else value % 10
    _number(whole)
    if rest == 0:
        return 0
    buffer_byte(&_text, 46)
    if places == 1:
        return buffer_byte(&_text, 48 + <unsigned char>rest)
    buffer_byte(&_text, 48 + <unsigned char>(rest // 10))
    if rest % 10:
        buffer_byte(&_text, 48 + <unsigned char>(rest % 10))
    return 0


cdef int _delay(double seconds) except -1:
    """Two significant digits, two after the point at most, no trailing zeros: Postfix's format_tv()."""
    if not seconds > 0:
        return buffer_byte(&_text, 48)
    if seconds < 1:
        return _fraction(<long>floor(seconds * 100 + 0.5), 2)
    if seconds < 10:
        return _fraction(<long>floor(seconds * 10 + 0.5), 1)
    return _number(<long>floor(seconds + 0.5) if seconds < 1e15 else 10 ** 15)


cdef inline bytes _made():
    cdef bytes made = buffer_object(&_text)
    if _text.capacity > KEPT:
        buffer_free(&_text)
    return made


cdef inline int _peer(bytes name, bytes address) except -1:
    _put(name)
    buffer_byte(&_text, 91)
    _put(address)
    return buffer_byte(&_text, 93)


def delay_text(double seconds):
    _text.size = 0
    _delay(seconds)
    return _made()


def connect(bytes name not None, bytes address not None):
    _text.size = 0
    _say(b"connect from ", 13)
    _peer(name, address)
    return _made()


def disconnect(bytes name not None, bytes address not None, bytes counts not None):
    """`counts`: ` command=accepted/seen` of each, and of all of them; see Session.counts()."""
    _text.size = 0
    _say(b"disconnect from ", 16)
    _peer(name, address)
    _put(counts)
    return _made()


def client(bytes queue_id not None, bytes name not None, bytes address not None):
    _text.size = 0
    _put(queue_id)
    _say(b": client=", 9)
    _peer(name, address)
    return _made()


def message_id(bytes queue_id not None, bytes value not None):
    """`value` as the header has it; <> where there is none."""
    _text.size = 0
    _put(queue_id)
    _say(b": message-id=", 13)
    _put(value)
    return _made()


def queue_active(bytes queue_id not None, bytes sender not None, long size, long recipients):
    _text.size = 0
    _put(queue_id)
    _say(b": from=<", 8)
    _put(sender)
    _say(b">, size=", 8)
    _number(size)
    _say(b", nrcpt=", 8)
    _number(recipients)
    _say(b" (queue active)", 15)
    return _made()


def removed(bytes queue_id not None):
    _text.size = 0
    _put(queue_id)
    _say(b": removed", 9)
    return _made()


def delivery(bytes queue_id not None, bytes recipient not None, bytes original not None, bytes relay not None,
             long connection_use, tuple delays not None, bytes dsn not None, bytes status not None,
             bytes text not None):
    """One recipient's verdict. `delays`: before the queue manager, in it, connection set-up, transmission."""
    cdef double a = delays[0], b = delays[1], c = delays[2], d = delays[3]
    _text.size = 0
    _put(queue_id)
    _say(b": to=<", 6)
    _put(recipient)
    buffer_byte(&_text, 62)
    if original and original is not recipient and original.lower() != recipient.lower():
        _say(b", orig_to=<", 11)
        _put(original)
        buffer_byte(&_text, 62)
    _say(b", relay=", 8)
    _put(relay)
    if connection_use > 1:
        _say(b", conn_use=", 11)
        _number(connection_use)
    _say(b", delay=", 8)
    _delay(a + b + c + d)
    _say(b", delays=", 9)
    _delay(a)
    buffer_byte(&_text, 47)
    _delay(b)
    buffer_byte(&_text, 47)
    _delay(c)
    buffer_byte(&_text, 47)
    _delay(d)
    _say(b", dsn=", 6)
    _put(dsn)
    _say(b", status=", 9)
    _put(status)
    _say(b" (", 2)
    _put(text)
    buffer_byte(&_text, 41)
    return _made()
