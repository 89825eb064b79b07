from libc.stdint cimport uint64_t

from fastrelay.borders cimport Envelope
from fastrelay.cleanup._contents cimport ContentScanner
from fastrelay.receive._rules cimport SessionRules
from fastrelay.rewrite._address cimport Address


cdef class Transaction:
    cdef SessionRules rules
    cdef ContentScanner scanner
    cdef readonly Address sender
    cdef readonly list recipients
    cdef readonly int flags
    cdef readonly bytes envid
    cdef readonly uint64_t size  # as declared by SIZE=
    cdef readonly object message_id
    cdef readonly bytes queue_id
    cdef Address mapped_sender  # as they are stored; None: as the client gave them
    cdef list mapped_recipients
    cdef tuple expanded  # recipients that are aliases and ask for NOTIFY=SUCCESS
    cdef tuple contents  # header, body and message ids, when the check of Stage.CONTENT has made them
    cdef bytes _body  # when it is taken from the scanner before its time
    cdef bytes content_filter  # b"": the service's own; None: none at all
    cdef int hops
    cdef bint hold, discard, coming
    cdef int overshoot
    cdef bint chunked, chunk_failed
    cdef uint64_t chunk_bytes

    cdef int begin(self, SessionRules rules) except -1
    cdef void reset(self)
    cpdef bytes body(self)
    cdef int expect(self, double now) except -1
    cdef void arrive(self)
    cdef Address stored_sender(self)
    cdef void hand_over(self)
    cdef int make_contents(self, bint is_local, tuple who, double now) except -1
    cdef bytes clean_header(self, inspector, bint is_local, tuple who, double now)
    cdef Envelope make_envelope(self, Py_ssize_t size, list message_ids, tuple who, double now)
    cdef bytes _received(self, tuple who, double now)
    cdef bint _is_bounce_sender(self)
