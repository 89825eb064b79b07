cimport cython

from fastrelay.rewrite._address cimport Address
from fastrelay.rewrite.lookup cimport AddressKeys, AddressMaps
from fastrelay.rewrite.resolve cimport Resolution, Resolver


cdef class RecipientCheck:
    cdef object _settings, _always_known
    cdef Resolver _resolver
    cdef list _rewriting
    cdef AddressKeys _keys
    cdef bytes _origin
    cdef dict _tables

    @cython.locals(found=Resolution)
    cpdef problem(self, Address address, bytes sender=*)
    cdef _check_class(self, Resolution found)
    @cython.locals(address=Address)
    cdef bint _matches(self, AddressMaps maps, Resolution found) except -1
