cimport cython

from fastrelay.borders cimport Delivery, Envelope, Outcome, QueuedMessage, Recipient


cdef class ActiveMessage(QueuedMessage):
    cdef public list due, deferred
    cdef public object parked_at, fate
    cdef public Py_ssize_t in_flight, total, counted, kept
    cdef public bint bouncing, retried, confirms
    cdef public double next_try

    @cython.locals(recipient=Recipient, notify=int)
    cdef bint ends_with(self, Outcome outcome)
    cdef tell(self, Outcome outcome)
    @cython.locals(envelope=Envelope)
    cdef bint is_late(self, double now, double after)


cdef class QueuedDelivery(Delivery):
    cdef public object destination
