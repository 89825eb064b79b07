cimport cython

from fastrelay.qmgr.destination cimport Destination


cdef class Transport:
    cdef public bytes name
    cdef public object agent, settings, scheduler, clock, first, extra
    cdef public dict destinations, idle
    cdef public Py_ssize_t open_slots, slow_slots

    cpdef Destination destination(self, bytes next_hop, bytes recipient)
    cpdef make_ready(self, Destination destination)
    cpdef slot_closed(self, Destination destination)
    cpdef bint has_room(self)
    @cython.locals(destination=Destination, now=double)
    cpdef bint open_slots_in_turn(self, Py_ssize_t budget)
    cdef _open_slot(self, Destination destination, double now)
    cpdef note_idle(self, Destination destination)
