cimport cython

from fastrelay._clock cimport monotonic


cdef class ClientNames:
    cdef dict _cache, _running
    cdef object _threads

    @cython.locals(expires=double)
    cpdef bytes known(self, str address)
