cimport cython

cdef class Transport  # they know each other

from fastrelay.qmgr.destination cimport Destination
from fastrelay.qmgr.line cimport Line
from fastrelay.qmgr.steady cimport Clock


cdef class Transport:
    cdef public bytes name
    cdef public object agent, settings, scheduler, extra
    cdef public Clock clock
    cdef public bint paused
    cdef readonly Py_ssize_t process_limit, recipient_limit, concurrency_limit, initial_concurrency
    cdef readonly double rate_delay
    cdef public Line first
    cdef public dict destinations, idle
    cdef public Py_ssize_t open_slots, slow_slots

    cdef _apply(self, settings)
    cpdef Destination destination(self, bytes next_hop, bytes recipient)
    @cython.locals(destination=Destination)
    cpdef Py_ssize_t slots_of_next(self, Py_ssize_t nobody)
    cpdef make_ready(self, Destination destination)
    cpdef make_job_ready(self, list destinations, double since)
    cdef _note_ready(self, Destination destination)
    @cython.locals(destination=Destination, stood=bint)
    cdef Destination _leave_line(self)
    cpdef slot_closed(self, Destination destination)
    cpdef bint has_room(self)
    @cython.locals(destination=Destination, now=double)
    cpdef bint open_slots_in_turn(self, Py_ssize_t budget)
    cdef _open_slot(self, Destination destination, double now)
    cpdef note_idle(self, Destination destination)
