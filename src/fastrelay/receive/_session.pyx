"""The lines of one session: bytes in, commands out, replies counted. ReceiveSession (_core.pyx) has the verbs.

feed() cuts what came into command lines and contents. What follows a command that must wait stays in the
buffer; an overlong line is passed over and answered. Invariant: a reply is counted once, good or bad, and the
replies do not depend on how the bytes were cut into reads. RFC 5321 4.1.1, 4.5.3.
"""

from libc.string cimport memchr, memmove

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, Slice, buffer_append, buffer_byte, buffer_clear, buffer_free, buffer_init, buffer_number,
    buffer_object, bytes_ptr, slice_bytes, slice_of,
)
from fastrelay.receive._rules cimport SessionRules
from fastrelay.receive._transaction cimport Transaction

import enum

from fastrelay.wire import replies
from fastrelay.wire.commands import LOG_ORDER, Verb


class Status(enum.IntEnum):
    """What feed(), resume() and committed() ask of the shell."""

    NEED_DATA = 0  # write output(), feed more
    WAIT = 1  # await `waiting`, then resume(answer)
    MESSAGE_READY = 2  # take_message(), make it durable, then committed()
    DELAY = 3  # write output() after smtpd_error_sleep_time, then proceed()
    CLOSE = 4  # write output(), close


cdef tuple LOG_NAMES = tuple([verb.name.lower().encode() for verb in LOG_ORDER])
cdef int log_verbs[VERBS]  # LOG_ORDER
cdef int LOGGED = len(LOG_ORDER)
for _place, _verb in enumerate(LOG_ORDER):
    log_verbs[_place] = _verb
cdef Py_ssize_t KEPT_BUFFER = 4096  # bytes that an idle session's buffers keep
cdef Py_ssize_t SKIP_LIMIT = 1 << 20  # bytes of one overlong command line that are passed over before the close
cdef int _live = 0
cdef ByteBuffer _text  # what counts() makes: the interpreter's lock is held from begin to end
buffer_init(&_text)

assert EXPN == Verb.EXPN and VERBS == len(Verb)


def live_objects():
    """How many sessions there are (counted in a debug build)."""
    return _live


cdef class SessionClient:
    """What a session knows of its client; smtpd's knows more."""


cdef class SessionJournal:
    """What a session calls without a look-up for each message; smtpd/journal.py has these and the others."""

    cpdef client_accepted(self, Session session):
        raise NotImplementedError

    cpdef message_ids(self, Session session, list ids):
        raise NotImplementedError


cdef class Session:
    """A dialogue with `client`; `journal` logs."""

    def __cinit__(self):
        global _live
        buffer_init(&self._in)
        buffer_init(&self._out)
        if FASTRELAY_DEBUG:
            _live += 1

    cdef int _begin(self, SessionRules rules, SessionClient client, SessionJournal journal) except -1:
        self.rules, self.client, self.journal = rules, client, journal
        self.transaction = Transaction.__new__(Transaction)
        self.transaction.begin(rules)
        self._state = COMMAND
        return self._reply(rules.greeting)

    def __dealloc__(self):
        global _live
        buffer_free(&self._in)
        buffer_free(&self._out)
        if FASTRELAY_DEBUG:
            _live -= 1

    # The shell's side ------------------------------------------------------------------------------

    cpdef int feed(self, bytes data, double now) except -1:
        """Take what the client sent at `now` (epoch seconds); a Status."""
        cdef Slice view
        cdef Py_ssize_t used
        if self._state == CLOSED:
            return CLOSE
        self._now = now
        if self._in.size or self._state == PAUSED:
            buffer_append(&self._in, <bytes_ptr><const char *>data, len(data))
            return self._proceed_buffered()
        view = slice_bytes(data)
        used = self._run(view.data, view.size)
        if used < view.size and self._state != CLOSED:
            buffer_append(&self._in, view.data + used, view.size - used)
        return self._status()

    cpdef bytes output(self):
        """The replies written since the last call."""
        cdef bytes out = buffer_object(&self._out)
        buffer_clear(&self._out, KEPT_BUFFER)
        return out

    def resume(self, answer, double now):
        """Go on with what a check answered: None or a reply. A Status."""
        self._now, self.waiting, self._state = now, None, COMMAND
        self._answered(self._after, answer)
        self._check_errors()
        return self._proceed_buffered()

    def proceed(self, double now):
        """Go on after a DELAY. A Status."""
        self._now = now
        if self._state == PAUSED:
            self._state = COMMAND
        self._after = 0
        return self._proceed_buffered()

    cpdef tuple take_message(self):
        """(message id number, Envelope, contents in pieces) of the message that waits for its commit."""
        cdef tuple message = self._message
        self._message = None
        return message

    cpdef int committed(self, double now, bytes refusal=None) except -1:
        """The message is durable, or `refusal` says why it never will be. A Status."""
        self._now, self._state = now, COMMAND
        self._end_message(refusal)
        return self._proceed_buffered()

    cpdef abandon(self):
        """The connection is gone or is to go: nothing of an unfinished message stays."""
        if self._state == CONTENT or self._state == CHUNK:
            self._total[DATA if self._state == CONTENT else BDAT] += 1
        self._reset()
        self._state, self.waiting, self._message = CLOSED, None, None
        self._in.size = 0

    def refuse(self, bytes reply):
        """End the dialogue with `reply` (a time-out, a shutdown)."""
        self._reply(reply)
        self.abandon()

    @property
    def buffered(self):
        """Bytes of contents held in memory."""
        return self.transaction.scanner.buffered_bytes()

    cpdef bint in_content(self) noexcept:
        """Is the client sending contents? (for the deadline)"""
        return self._state == CONTENT or self._state == CHUNK

    cpdef bint is_open(self) noexcept:
        """Has nothing ended the dialogue yet?"""
        return self._state != CLOSED

    cpdef bint is_waiting(self) noexcept:
        """Does the client wait for us?"""
        return self._state == PAUSED

    @property
    def last_verb(self):
        """The name of the last command, for `lost connection after ...`."""
        if self._state == CONTENT:
            return b"DATA (%d bytes)" % self.transaction.scanner.size
        if self._verb == BDAT:
            return b"BDAT (%d bytes)" % self.transaction.scanner.size
        if self._verb == END_OF_MESSAGE:
            return b"END-OF-MESSAGE"
        return Verb(self._verb).name.encode() if self._verb else (b"UNKNOWN" if self._total[0] else b"CONNECT")

    cpdef bytes counts(self):
        """` name=accepted/seen` of each verb in the order of the disconnect line, and of them all."""
        cdef int place, verb, good = 0, total = 0
        _text.size = 0
        for place in range(LOGGED):
            verb = log_verbs[place]
            if self._total[verb]:
                put_count(<bytes>LOG_NAMES[place], self._good[verb], self._total[verb])
                good += self._good[verb]
                total += self._total[verb]
        put_count(b"commands", good, total)
        return buffer_object(&_text)

    # The verbs' side --------------------------------------------------------------------------------

    cdef int _command(self, Slice line, Slice ahead) except -1:
        raise NotImplementedError

    cdef Py_ssize_t _take_chunk(self, bytes_ptr data, Py_ssize_t size) except -1:
        """BDAT's octets off `data`; how many were taken."""
        raise NotImplementedError

    cdef int _content_ended(self) except -1:
        raise NotImplementedError

    cdef int _answered(self, int stage, object refusal) except -1:
        """What the check of this stage said."""
        raise NotImplementedError

    cdef int _end_message(self, bytes refusal) except -1:
        raise NotImplementedError

    cdef void _reset(self):
        """The one end of every transaction."""
        self.transaction.reset()

    # Running ---------------------------------------------------------------------------------------

    cdef int _status(self) noexcept:
        if self._state == CLOSED:
            return CLOSE
        if self._state == PAUSED:
            return WAIT if self.waiting is not None else MESSAGE_READY if self._message is not None else DELAY
        return NEED_DATA

    cdef int _proceed_buffered(self) except -1:
        cdef Py_ssize_t used
        if self._state != PAUSED and self._state != CLOSED:
            used = self._run(self._in.data, self._in.size)
            if used and self._in.size:
                memmove(self._in.data, self._in.data + used, self._in.size - used)
                self._in.size -= used
        if not self._in.size:
            buffer_clear(&self._in, KEPT_BUFFER)
        return self._status()

    cdef Py_ssize_t _run(self, bytes_ptr data, Py_ssize_t size) except -1:
        """Take whole commands and contents off `data`; how much was used."""
        cdef Py_ssize_t used = 0, taken
        while used < size and self._state != PAUSED and self._state != CLOSED:
            if self._state == CONTENT:
                taken = self.transaction.scanner.feed(data + used, size - used)
                if taken < 0:
                    return size
                used += taken
                self._state = COMMAND
                self._content_ended()
            elif self._state == CHUNK:
                used += self._take_chunk(data + used, size - used)
            else:
                taken = self._take_line(data + used, size - used)
                if taken == 0:
                    break
                used += taken
        return used

    cdef Py_ssize_t _take_line(self, bytes_ptr data, Py_ssize_t size) except -1:
        """One command line off `data`, or 0 when its end is not there yet. An overlong one is passed over."""
        cdef bytes_ptr newline = <bytes_ptr>memchr(data, 10, size)
        cdef Py_ssize_t taken = size if newline == NULL else newline - data + 1
        cdef Py_ssize_t length
        if newline == NULL:
            if not self._too_long and size <= self.rules.line_limit + 1:  # the last byte may be its CR
                return 0
            self._too_long = True
            self._skipped += taken
            return self._end_endless_line(taken) if self._skipped > SKIP_LIMIT else taken
        if self._skipped + taken - 1 > SKIP_LIMIT:
            return self._end_endless_line(taken)
        length = taken - 1
        if length and data[length - 1] == 13:
            length -= 1
        elif self.rules.reject_bare_lf and length <= self.rules.line_limit and not self._too_long:
            self._verb = 0
            self._count(self.rules.bare_lf_reply)
            self.abandon()
            return taken
        if self._too_long or length > self.rules.line_limit:
            self._too_long, self._skipped, self._verb = False, 0, 0
            self._count(replies.R500_LINE_TOO_LONG)
        else:
            self._command(slice_of(data, length), slice_of(data + taken, size - taken))
        self._check_errors()
        return taken

    cdef Py_ssize_t _end_endless_line(self, Py_ssize_t taken) except -1:
        self._verb = 0
        self._count(replies.R500_LINE_TOO_LONG)
        self.abandon()
        return taken

    cdef int _check_errors(self) except -1:
        """smtpd_hard_error_limit ends the session, smtpd_soft_error_limit slows all its replies down."""
        if self._state == COMMAND and self._errors >= self.rules.soft_errors:
            if self._errors >= self.rules.hard_errors:
                self._reply(replies.r421_too_many_errors(self.rules.myhostname))
                self.journal.too_many_errors(self)
                self.abandon()
            elif self._errors > self.rules.soft_errors or not self._bad_reply:
                self._state = PAUSED
        return 0

    cdef int _check(self, int stage, object argument) except -1:
        """Ask the checks of this stage, and go on at once unless one of them has to wait."""
        cdef object check = self.rules.checks[stage]
        cdef object answer = None if check is None else check(self, argument)
        if answer is None or isinstance(answer, bytes):
            return self._answered(stage, answer)
        return self._wait(answer, stage)

    cdef int _wait(self, object answer, int stage) except -1:
        """_answered() gets what the awaitable brings, by resume()."""
        self.waiting, self._after, self._state = answer, stage, PAUSED
        return 0

    # Replies ---------------------------------------------------------------------------------------

    cdef int _reply(self, bytes line) except -1:
        buffer_append(&self._out, <bytes_ptr><const char *>line, len(line))
        buffer_append(&self._out, <bytes_ptr>b"\r\n", 2)
        return 0

    cdef int _count(self, bytes line) except -1:
        """Reply to the command at hand, and count it for the log and the error limits."""
        cdef char digit = (<const char *>line)[0]
        self._total[self._verb] += 1
        if (digit == 50 or digit == 51) and self._verb:
            self._good[self._verb] += 1
        else:
            self._errors += 1
            self._bad_reply = True
        return self._reply(line)

    cdef int _refuse(self, bytes line, bytes argument) except -1:
        """A refusal that the administrator wants to see in the log."""
        self.journal.reject(self, Verb(self._verb).name.encode(), line, argument)
        return self._count(line)


cdef int put_count(bytes name, int good, int total) except -1:
    """` name=good/total`, or the number alone when all were good."""
    buffer_byte(&_text, 32)
    buffer_append(&_text, <bytes_ptr><const char *>name, len(name))
    buffer_byte(&_text, 61)
    buffer_number(&_text, good)
    if good != total or not total:
        buffer_byte(&_text, 47)
        buffer_number(&_text, total)
    return 0
