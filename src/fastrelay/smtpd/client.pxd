from fastrelay.receive._session cimport SessionClient
from fastrelay.tables.matching cimport AddressMatcher


cdef class Client(SessionClient):
    cdef public bint is_clear
    cdef AddressMatcher _networks
    cdef bint _is_known, _is_trusted

    cpdef bint in_mynetworks(self) except -1
