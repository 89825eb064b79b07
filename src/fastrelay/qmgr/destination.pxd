cimport cython

from fastrelay.qmgr.message cimport ActiveMessage, QueuedDelivery


cdef class Destination:
    cdef public bytes transport, name, next_hop
    cdef public object transport_queue, fresh, retried, parked, reason, in_line
    cdef public bint retried_turn, slow, held_back, progressed
    cdef public Py_ssize_t window, slots, starting, turn_count
    cdef public double success, failure, failed_cohorts, suspended_until, turn_started, mean_time, not_before

    @cython.locals(delivery=QueuedDelivery, message=ActiveMessage, now=double)
    cpdef take(self)
    cpdef release(self)
    cpdef succeeded(self)
    cpdef push(self, QueuedDelivery delivery)
    @cython.locals(delivery=QueuedDelivery, message=ActiveMessage)
    cpdef QueuedDelivery pop(self)
    cpdef bint is_suspended(self, double now)
    cpdef bint wants_slot(self, double now)
    @cython.locals(mean=double)
    cpdef finished(self, double seconds)
    cpdef bint is_idle(self)
