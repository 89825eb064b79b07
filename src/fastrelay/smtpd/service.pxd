cimport cython

from fastrelay.smtpd.client cimport Client
from fastrelay.smtpd.journal cimport Journal


cdef class Service:
    cdef public object settings, loop, submit, rules
    cdef public Journal journal
    cdef public double timeout, min_data_rate
    cdef public bint forbids_early_input
    cdef object _around, _forbidden, _local_clients
    cdef public set _connections
    cdef bint _memory_is_tight

    cpdef bint admit(self, connection) except? True
    cpdef forget(self, connection)
    cpdef bytes known_name(self, str address)
    cpdef bint has_room(self, size) except? True
