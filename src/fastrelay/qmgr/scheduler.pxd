cimport cython

from fastrelay.qmgr.destination cimport Destination
from fastrelay.qmgr.message cimport QueuedDelivery
from fastrelay.qmgr.steady cimport Clock
from fastrelay.qmgr.transport cimport Transport


cdef class Scheduler:
    cdef Clock _clock
    cdef object _transport_settings, _schedule_pump, _refused, _dead, _sequence
    cdef dict _agents, _transports, _ready
    cdef list _wakes
    cdef bint _pump_wanted
    cdef public bint paused

    cpdef Transport transport(self, bytes name)
    @cython.locals(destination=Destination)
    cpdef add(self, QueuedDelivery delivery)
    @cython.locals(delivery=QueuedDelivery, destination=Destination, transport=Transport, groups=dict, ready=dict)
    cpdef add_message(self, list deliveries)
    @cython.locals(transport=Transport, more=bint)
    cpdef pump(self)
    cpdef want_pump(self)
    cpdef transport_ready(self, transport)
    cpdef refuse(self, destination)
    @cython.locals(destination=Destination, delivery=QueuedDelivery)
    cdef bint _refuse_some(self)
