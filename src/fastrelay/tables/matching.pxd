cdef class AddressMatcher:
    cdef public list tables
    cdef list _pairs
    cdef bint _cacheable
    cdef dict _cache

    cpdef bint matches(self, address, bytes name=*) except -1
