cimport cython

from fastrelay.borders cimport Delivery, Envelope, Outcome, QueuedMessage, Recipient
from fastrelay.qmgr.manager cimport QueueManager
from fastrelay.queue.spool cimport Spool


cdef class Arrival:
    cdef Passage _passage
    cdef Envelope _envelope
    cdef object _content, _done
    cdef bytes _name


cdef class Passage:
    cdef public Spool spool
    cdef public QueueManager qmgr
    cdef public bint ticking
    cdef object _line, _recorded
    cdef dict _log_names
    cdef bint _long_ids

    cpdef bytes queue_name(self, message_id)
    cpdef submit(self, message_id, Envelope envelope, content, bytes name, done)
    cpdef report(self, Delivery delivery, list outcomes)
    @cython.locals(
        message=QueuedMessage, recipient=Recipient, activated=double, started=double, at=Py_ssize_t
    )
    cpdef log_outcome(self, Delivery delivery, Outcome outcome)
