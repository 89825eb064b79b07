cdef class Clockface:
    cdef public long second
    cdef public bytes date, stamp

    cpdef show(self, double now)


cdef class ReceivedHeader:
    cdef bytes by
    cdef readonly dict begun
    cdef readonly Clockface clock

    cpdef bytes make(self, tuple who, bytes queue_id, bytes recipient, double now)
    cdef bytes _begin(self, tuple who)
