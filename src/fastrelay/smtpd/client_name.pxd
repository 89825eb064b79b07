cdef class ClientNames:
    cdef dict _cache, _running
    cdef object _threads

    cpdef known(self, str address)
