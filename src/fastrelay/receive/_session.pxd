from libc.stdint cimport uint64_t

from fastrelay._bytes cimport ByteBuffer, Slice, bytes_ptr
from fastrelay.receive._rules cimport SessionRules
from fastrelay.receive._transaction cimport Transaction

cdef enum:  # Status
    NEED_DATA, WAIT, MESSAGE_READY, DELAY, CLOSE

cdef enum State:
    COMMAND, CONTENT, CHUNK, PAUSED, CLOSED

cdef enum:  # wire.commands.Verb
    HELO = 1
    EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, VRFY, ETRN, QUIT, HELP, STARTTLS, AUTH, XCLIENT, XFORWARD, EXPN
    VERBS
    END_OF_MESSAGE = VERBS  # in _verb, between a message's end and the next command


cdef class SessionClient:
    cdef public bytes name, address
    cdef public bint is_local


cdef class SessionJournal:
    cpdef client_accepted(self, Session session)
    cpdef message_ids(self, Session session, list ids)


cdef class Session:
    cdef readonly SessionRules rules
    cdef readonly SessionClient client
    cdef readonly SessionJournal journal
    cdef readonly object waiting
    cdef readonly Transaction transaction
    cdef ByteBuffer _in
    cdef ByteBuffer _out
    cdef State _state
    cdef int _verb, _errors, _junk, _after
    cdef int _total[VERBS]
    cdef int _good[VERBS]
    cdef bint _bad_reply, _too_long
    cdef Py_ssize_t _skipped
    cdef double _now
    cdef tuple _message

    cpdef int feed(self, bytes data, double now) except -1
    cpdef bytes output(self)
    cpdef bint is_waiting(self) noexcept
    cpdef bint in_content(self) noexcept
    cpdef bint is_open(self) noexcept
    cpdef tuple take_message(self)
    cpdef bytes counts(self)
    cpdef int committed(self, double now, bytes refusal=*) except -1
    cpdef abandon(self)

    cdef int _begin(self, SessionRules rules, SessionClient client, SessionJournal journal) except -1
    cdef int _command(self, Slice line, Slice ahead) except -1
    cdef Py_ssize_t _take_chunk(self, bytes_ptr data, Py_ssize_t size) except -1
    cdef int _content_ended(self) except -1
    cdef int _answered(self, int stage, object refusal) except -1
    cdef int _end_message(self, bytes refusal) except -1
    cdef void _reset(self)

    cdef int _status(self) noexcept
    cdef int _proceed_buffered(self) except -1
    cdef Py_ssize_t _run(self, bytes_ptr data, Py_ssize_t size) except -1
    cdef Py_ssize_t _take_line(self, bytes_ptr data, Py_ssize_t size) except -1
    cdef Py_ssize_t _end_endless_line(self, Py_ssize_t taken) except -1
    cdef int _check_errors(self) except -1
    cdef int _check(self, int stage, object argument) except -1
    cdef int _wait(self, object answer, int stage) except -1
    cdef int _reply(self, bytes line) except -1
    cdef int _count(self, bytes line) except -1
    cdef int _refuse(self, bytes line, bytes argument) except -1
