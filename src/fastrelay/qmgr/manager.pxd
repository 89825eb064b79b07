cimport cython

from fastrelay.borders cimport Delivery, Envelope, Outcome
from fastrelay.qmgr.activation cimport Activation
from fastrelay.qmgr.active cimport ActiveQueue
from fastrelay.qmgr.destination cimport Destination
from fastrelay.qmgr.message cimport ActiveMessage, QueuedDelivery
from fastrelay.qmgr.scheduler cimport Scheduler
from fastrelay.qmgr.steady cimport Clock
from fastrelay.queue._index cimport Index


cdef class QueueManager:
    cdef public object _around
    cdef object _settings, _spool, _record, _log, _log_outcome, _waiting, _parking, _ramp
    cdef Clock _clock
    cdef public Index active
    cdef public ActiveQueue _active
    cdef public Scheduler scheduler
    cdef Activation _activation
    cdef double _next_refill, _next_sweep
    cdef dict _warned
    cdef bint _starved
    cdef list _site_scans

    @cython.locals(message=ActiveMessage, count=Py_ssize_t)
    cpdef accepted(self, entry, Envelope envelope, content, bytes queue_id=*)
    @cython.locals(message=ActiveMessage)
    cdef ActiveMessage _make(self, entry, Envelope envelope, content, bytes queue_id, bint retried)
    cdef _admit(self, ActiveMessage message, Py_ssize_t recipients)
    @cython.locals(delivery=QueuedDelivery, room=Py_ssize_t)
    cdef _start(self, ActiveMessage message, pending, bint unparked=*, bint flushed=*)
    @cython.locals(queued=QueuedDelivery, destination=Destination, message=ActiveMessage, now=double)
    cpdef report(self, Delivery delivery, list outcomes)
    @cython.locals(outcome=Outcome)
    cdef _conclude(self, ActiveMessage message, delivery, list outcomes)
    cdef _end_pass(self, ActiveMessage message, list ended)
    cdef list _expire(self, ActiveMessage message)
    cdef _leave(self, ActiveMessage message)
    cdef _deactivate(self, ActiveMessage message)
    @cython.locals(envelope=Envelope)
    cdef _log_active(self, ActiveMessage message)
    cdef _conclude_dropped(self, ActiveMessage message, list ended)
    cdef _wind_down(self, ActiveMessage message)
