cimport cython

from fastrelay.qmgr.message cimport ActiveMessage
from fastrelay.queue._index cimport Index

cdef Py_ssize_t DESTINATION_SHARE


cdef class ActiveQueue:
    cdef public Index messages
    cdef public Py_ssize_t recipients, retried, content, limit
    cdef Py_ssize_t _fresh_limit, _retried_limit, _recipient_limit, _small, _memory_limit

    cpdef bint has_room(self)
    cpdef bint may_hold(self, Py_ssize_t recipients)
    cpdef bint may_start(self, Py_ssize_t recipients=*)
    cpdef bint may_retry(self)
    @cython.locals(free=Py_ssize_t)
    cpdef Py_ssize_t share(self)
    cpdef add(self, ActiveMessage message, Py_ssize_t recipients)
    @cython.locals(size=Py_ssize_t)
    cdef _keep_content(self, ActiveMessage message)
    cpdef remove(self, ActiveMessage message)
