cimport cython

cdef double SLEW, CORRECTED_EVERY


cdef class Clock:
    cdef object _read

    cpdef double now(self) except? -1.0


cdef class SteadyClock(Clock):
    cdef object _wall
    cdef double _corrected, _offset, _drift

    cpdef double now(self) except? -1.0
    cdef double _time(self, double now) except? -1.0
    @cython.locals(allowed=double)
    cdef double _correction(self, double now) noexcept
