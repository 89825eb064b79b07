"""One delivery's way through sessions, and what it must know about the session that it is in."""

from fastrelay._bytes cimport ByteBuffer, bytes_ptr
from fastrelay.borders cimport Delivery

cdef enum Step:  # RCPT_STEP is the first of the recipients'; DATA and the end of data follow the last
    RSET_STEP = 0
    MAIL_STEP = 1
    RCPT_STEP = 2

cdef class Session:  # Postfix's SMTP_SESSION
    cdef bytes relay, name, host  # of session.Peer
    cdef object size_limit  # None: SIZE was not offered
    cdef bint dsn, takes_eight_bit, eight_bit_mime, smtputf8
    cdef double setup_delay

cdef class Transaction:
    cdef readonly Delivery delivery
    cdef readonly list outcomes  # parallel to delivery.recipients; None: no verdict yet
    cdef readonly list kept  # positions whose failure another server may turn into success
    cdef public set visited  # addresses that were tried
    cdef public int sessions
    cdef public object failure  # why opening a session failed, where it did
    cdef Session session
    cdef list todo  # positions that this session is to deliver to
    cdef list content
    cdef Py_ssize_t sent, answered, count, accepted
    cdef int position  # which transaction of its connection
    cdef bint mail_accepted, mail_refused, content_sent, writing, bare_dot
    cdef bint may_keep  # a failure for now is no verdict: there are other servers
    cdef double began

    cdef int begin(self, Session session, double now, bint reset) except -1
    cdef list all_positions(self)
    cdef Py_ssize_t data_step(self) noexcept
    cdef bint is_over(self) noexcept
    cdef bint is_refused(self) noexcept
    cdef bint leaves_mail_open(self) noexcept
    cdef bytes where(self)
    cdef bytes said_in_reply(self, bytes said)
    cdef bytes commands(self, bint pipelining)
    cdef int command(self, Py_ssize_t step, ByteBuffer *out) except -1
    cdef bint take_reply(self, int code, bytes_ptr text, Py_ssize_t size, double now) except -1
    cdef int accept(self, int code, bytes_ptr text, Py_ssize_t size, double now) except -1
    cdef int refuse(self, Py_ssize_t only, int code, bytes_ptr text, Py_ssize_t size, double now) except -1
    cdef bint refuse_here(self, double now) except -1
    cdef int verdict(
        self, Py_ssize_t only, object status, bytes dsn, bytes reason, bytes said, double now,
    ) except -1
    cdef int break_off(self, bytes dsn, bytes reason, bytes said, double now) except -1
    cdef bint reopen(self) except -1
