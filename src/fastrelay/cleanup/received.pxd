cdef class Clockface:
    cdef public long second
    cdef public bytes date, stamp

    cpdef show(self, double now)


cdef class ReceivedHeader:
    cdef bytes by
    cdef readonly dict begun
    cdef public Clockface clock

    cdef bytes _begin(self, tuple who)
