cimport cython

from fastrelay.borders cimport Delivery, Outcome
from fastrelay.qmgr.activation cimport Activation
from fastrelay.qmgr.active cimport ActiveQueue
from fastrelay.qmgr.destination cimport Destination
from fastrelay.qmgr.message cimport ActiveMessage, QueuedDelivery
from fastrelay.qmgr.scheduler cimport Scheduler


cdef class QueueManager:
    cdef public object _around
    cdef object _settings, _spool, _clock, _log, _waiting, _parking, _ramp
    cdef public dict active
    cdef public ActiveQueue _active
    cdef public Scheduler scheduler
    cdef Activation _activation
    cdef double _next_refill, _next_sweep
    cdef dict _warned
    cdef bint _starved
    cdef list _site_scans

    @cython.locals(message=ActiveMessage)
    cpdef accepted(self, entry, envelope, content, bytes queue_id=*)
    cdef ActiveMessage _make(self, entry, envelope, content, bytes queue_id, bint retried)
    @cython.locals(delivery=QueuedDelivery, room=Py_ssize_t)
    cdef _start(self, ActiveMessage message, pending, bint unparked=*, bint flushed=*)
    @cython.locals(destination=Destination, message=ActiveMessage, now=double)
    cpdef report(self, Delivery delivery, list outcomes)
    @cython.locals(outcome=Outcome)
    cdef _conclude(self, ActiveMessage message, delivery, list outcomes)
    cdef _end_pass(self, ActiveMessage message, list ended)
    cdef list _expire(self, ActiveMessage message)
    cdef _leave(self, ActiveMessage message)
    cdef _deactivate(self, ActiveMessage message)
    cdef _log_active(self, ActiveMessage message)
    cdef _conclude_dropped(self, ActiveMessage message, list ended)
    cdef _wind_down(self, ActiveMessage message)
