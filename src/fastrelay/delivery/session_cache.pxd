cimport cython


cdef class SessionCache:
    cdef double _time_limit
    cdef dict _idle
    cdef Py_ssize_t _count

    @cython.locals(idle=list)
    cpdef put(self, dialogue, double now)
    @cython.locals(idle=list)
    cpdef get(self, tuple key, double now)
