cdef class SteadyClock:
    cdef object _wall, _monotonic
    cdef double _corrected, _offset, _drift

    cdef double _correction(self, double now)
