cdef class Pace:
    cdef readonly object soon
    cdef object _later, _coming, _timer, _begin
    cdef double _interval, _began, _rate

    cpdef bint postpones(self, int messages, begin) except -1
    cpdef began(self, int messages)
    cpdef stop(self)
