cimport cython

from fastrelay.qmgr.line cimport Line
from fastrelay.qmgr.message cimport ActiveMessage, QueuedDelivery
from fastrelay.qmgr.transport cimport Transport


cdef class Destination:
    cdef public bytes transport, name, next_hop
    cdef public Transport transport_queue
    cdef public object parked, reason
    cdef public Line fresh, retried
    cdef public bint retried_turn, slow, held_back, progressed, in_first, in_job, in_extra
    cdef public Py_ssize_t window, slots, starting, turn_count
    cdef public double success, failure, failed_cohorts, suspended_until, turn_started, mean_time, not_before

    @cython.locals(transport=Transport, delivery=QueuedDelivery, message=ActiveMessage, now=double)
    cpdef take(self)
    cpdef release(self)
    @cython.locals(transport=Transport, limit=Py_ssize_t)
    cpdef succeeded(self)
    cpdef Py_ssize_t waiting(self)
    cpdef Py_ssize_t messages(self)
    @cython.locals(message=ActiveMessage)
    cpdef push(self, QueuedDelivery delivery)
    @cython.locals(delivery=QueuedDelivery, message=ActiveMessage, retried=bint)
    cpdef QueuedDelivery pop(self)
    cpdef bint is_suspended(self, double now)
    @cython.locals(waiting=Py_ssize_t)
    cpdef bint wants_slot(self, double now)
    @cython.locals(mean=double)
    cpdef finished(self, double seconds)
    cpdef bint stands_in_line(self)
    cpdef bint is_idle(self)
