cimport cython

cdef double SLEW, CORRECTED_EVERY


cdef class SteadyClock:
    cdef object _wall, _monotonic
    cdef double _corrected, _offset, _drift

    cdef double _time(self, double now) except? -1.0
    @cython.locals(allowed=double)
    cdef double _correction(self, double now) noexcept
