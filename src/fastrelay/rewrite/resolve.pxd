cimport cython

from fastrelay.borders cimport Route
from fastrelay.rewrite._address cimport Address
from fastrelay.rewrite.lookup cimport AddressKeys, AddressMaps


cdef class Resolution:
    cdef readonly Route route
    cdef readonly Address address
    cdef readonly object address_class
    cdef readonly bint routed


cdef class Destination:
    cdef readonly object address_class
    cdef readonly tuple by_class
    cdef readonly bytes transport, next_hop


cdef class Resolver:
    cdef object _settings, _lookups, _rewriter, _own, _empty_address, _sender_routes
    cdef Py_ssize_t _remember
    cdef AddressMaps _transport_maps, _relocated_maps
    cdef AddressKeys _keys
    cdef list _changing, _versions
    cdef dict _recent, _cache, _interned
    cdef bint _by_sender, _cached, _parent_style

    @cython.locals(found=Resolution, key=bytes)
    cpdef Resolution examine(self, Address address, bytes sender=*)
    @cython.locals(i=cython.Py_ssize_t)
    cdef Resolution _recall(self, bytes external)
    @cython.locals(known=Destination, local=bytes)
    cdef Resolution _examine(self, Address address, bytes sender)
    cdef Resolution _bad(self, Address address)
    @cython.locals(found=Destination)
    cdef Destination _of_domain(self, bytes domain, bytes sender)
    cdef tuple _apply_transport(self, bytes value, bytes domain, tuple by_class)
    cdef bytes _intern(self, bytes value)


@cython.locals(c=cython.uchar)
cdef bint has_routing(bytes local)
