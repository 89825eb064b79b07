from fastrelay.borders cimport Delivery, QueuedMessage


cdef class ActiveMessage(QueuedMessage):
    cdef public list failed, deferred
    cdef public object parked_at, fate
    cdef public Py_ssize_t in_flight, total, kept
    cdef public bint bouncing, retried
    cdef public double next_try


cdef class QueuedDelivery(Delivery):
    cdef public object destination
