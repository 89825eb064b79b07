from libc.stdint cimport uint32_t

from fastrelay.tcp._poller cimport Source


cdef class Protocol:
    cpdef data_received(self, bytes data)


cdef class Stream(Source):
    cdef object protocol
    cdef Protocol compiled  # the same, when it can be called so
    cdef readonly object peername
    cdef object error
    cdef list backlog
    cdef Py_ssize_t sent, size, high
    cdef int more  # MSG_MORE while more follows at once
    cdef bint reading, closing, full

    cdef int attach(self, protocol) except -1
    cpdef write(self, data)
    cpdef write_last(self, data)
    cpdef close(self)
    cpdef int unread(self)
    cdef int receive(self) except -1
    cdef Py_ssize_t push(self, const char *data, Py_ssize_t size) except -2
    cdef int keep(self, bytes data, Py_ssize_t done) except -1
    cdef int flush(self) except -1
    cdef int want(self) except -1
    cdef int finish(self, error) except -1
    cdef int told(self) except -1


cdef class Listener(Source):
    cdef object sock, factory

    cdef int admit(self, int fd, peername) except -1
    cdef int rest(self, int reason) except -1
