cimport cython

from fastrelay.borders cimport Envelope, Recipient, Route
from fastrelay.qmgr.destination cimport Destination
from fastrelay.qmgr.message cimport ActiveMessage, QueuedDelivery
from fastrelay.qmgr.scheduler cimport Scheduler
from fastrelay.qmgr.transport cimport Transport


cdef class Activation:
    cdef Scheduler _scheduler
    cdef object _resolve, _unresolvable, _unavailable
    cdef frozenset _defer_transports
    cdef bytes _filter_next_hop

    @cython.locals(
        envelope=Envelope, route=Route, transport=Transport, destination=Destination, address=bytes,
        delivery=QueuedDelivery,
    )
    cpdef QueuedDelivery single(self, ActiveMessage message, Py_ssize_t index, Py_ssize_t room)
    @cython.locals(recipient=Recipient)
    cdef Route _route(self, Envelope envelope, Py_ssize_t index)
