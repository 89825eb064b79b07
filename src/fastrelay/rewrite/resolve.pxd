cdef class Resolver:
    cdef object _settings, _lookups, _rewriter, _own, _empty_address, _transport_maps, _relocated_maps
    cdef object _sender_routes, _keys, _remember
    cdef list _changing, _versions
    cdef dict _recent, _cache, _interned
    cdef bint _by_sender, _cached, _parent_style

    cpdef examine(self, address, bytes sender=*)
    cdef _recall(self, bytes external)
