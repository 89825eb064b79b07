cimport cython

from fastrelay.receive._rules cimport SessionRules
from fastrelay.receive._session cimport Session
from fastrelay.smtpd.client cimport Client
from fastrelay.smtpd.client_name cimport ClientNames
from fastrelay.smtpd.journal cimport Journal


cdef class Service:
    cdef public object settings, loop, submit
    cdef public SessionRules rules
    cdef public Journal journal
    cdef public double now, timeout, min_data_rate
    cdef public bint forbids_early_input
    cdef object _around, _forbidden, _local_clients, _disk_has_room
    cdef ClientNames _names
    cdef dict _clients
    cdef bint _keeps_clients, _looks_up_names
    cdef Py_ssize_t _limit
    cdef public set _connections
    cdef bint _memory_is_tight

    cpdef bint admit(self, connection) except? True
    cpdef forget(self, connection)
    cpdef bytes known_name(self, str address)
    @cython.locals(client=Client)
    cpdef Client client(self, str address, bytes name)
    cpdef bint has_room(self, size) except? True


cdef class Entrance:
    cdef public Service service
