"""What the shell around a ReceiveSession calls for each command: a C call, without a look-up and a tuple of arguments."""


cdef class Session:
    cpdef int feed(self, bytes data, double now) except -1
    cpdef bytes output(self)
    cpdef bint is_waiting(self) noexcept
    cpdef bint in_content(self) noexcept
    cpdef int committed(self, double now, bytes refusal=*) except -1
