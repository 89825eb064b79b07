cimport cython

from fastrelay._clock cimport time
from fastrelay.receive._session cimport Session
from fastrelay.smtpd.client cimport Client
from fastrelay.smtpd.service cimport Service
from fastrelay.tcp._stream cimport Protocol, Stream

cdef int NEED_DATA, WAIT, MESSAGE_READY, DELAY, CLOSE


cdef class Connection(Protocol):
    cdef Service _service
    cdef object _task
    cdef public Stream _transport
    cdef public bint _paused
    cdef bint _stalled, _ended
    cdef bytes _early
    cdef public Session session
    cdef public double deadline

    @cython.locals(service=Service, host=str, address=str, name=bytes)
    cpdef connection_made(self, transport)
    @cython.locals(session=Session)
    cpdef data_received(self, bytes data)
    @cython.locals(session=Session)
    cpdef connection_lost(self, exc)

    @cython.locals(service=Service)
    cdef _greet(self, str address, bytes name)
    @cython.locals(service=Service, session=Session)
    cdef _open(self, Client client)
    cdef bint _has_unread_input(self)

    @cython.locals(session=Session)
    cdef _act(self, int status)
    cdef _submit(self, Session session)
    cdef _pause(self)
    cdef _resume(self)
    cdef _close(self)
    cdef _extend(self)
    @cython.locals(latest=double, extended=double)
    cdef _extend_content(self, Py_ssize_t size)
