cimport cython

from fastrelay._core cimport Session
from fastrelay.tcp._stream cimport Protocol, Stream


cdef class Connection(Protocol):
    cdef object _service, _task
    cdef public Stream _transport
    cdef public bint _paused
    cdef bint _stalled, _ended
    cdef bytes _early
    cdef public Session session
    cdef public double deadline
    cdef double _timeout

    @cython.locals(session=Session)
    cpdef data_received(self, bytes data)
    @cython.locals(session=Session)
    cdef _act(self, int status)
    cdef _submit(self, session)
    cdef _pause(self)
    cdef _resume(self)
    cdef _close(self)
    cdef _extend(self)
    cdef _extend_content(self, Py_ssize_t size)
