cimport cython

cdef class ActiveMessage  # destinations know it
cdef class QueuedDelivery

from fastrelay.borders cimport Delivery, Envelope, Outcome, QueuedMessage, Recipient
from fastrelay.qmgr.destination cimport Destination


cdef class ActiveMessage(QueuedMessage):
    cdef public list due, deferred
    cdef public object parked_at, fate
    cdef public Py_ssize_t in_flight, total, counted, kept
    cdef public bint bouncing, retried, confirms
    cdef public double next_try
    cdef public unsigned long long number

    cpdef begin(
        self, entry, bytes queue_id, Envelope envelope, content, double activated, bint retried, bint confirms=*
    )

    @cython.locals(recipient=Recipient, notify=int)
    cdef bint ends_with(self, Outcome outcome)
    cdef tell(self, Outcome outcome)
    @cython.locals(envelope=Envelope)
    cdef bint is_late(self, double now, double after)


cdef class QueuedDelivery(Delivery):
    cdef public Destination destination

    cpdef begin(self, ActiveMessage message, Destination destination, list recipients, list addresses)
