from fastrelay.qmgr.message cimport ActiveMessage


cdef class ActiveQueue:
    cdef public dict messages
    cdef public Py_ssize_t recipients, retried, content, limit
    cdef Py_ssize_t _fresh_limit, _retried_limit, _recipient_limit, _small, _memory_limit

    cpdef bint has_room(self)
    cpdef bint may_hold(self, Py_ssize_t recipients)
    cpdef bint may_start(self, Py_ssize_t recipients=*)
    cpdef bint may_retry(self)
    cpdef Py_ssize_t share(self)
    cpdef add(self, ActiveMessage message, Py_ssize_t recipients)
    cdef _keep_content(self, ActiveMessage message)
    cpdef remove(self, ActiveMessage message)
