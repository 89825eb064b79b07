cdef class Connection:
    cdef object _service, _task
    cdef public object _transport
    cdef public bint _paused
    cdef bint _stalled, _ended
    cdef bytes _early
    cdef public object session
    cdef public double deadline
    cdef double _timeout

    cdef _act(self, int status)
    cdef _submit(self, session)
    cdef _pause(self)
    cdef _resume(self)
    cdef _close(self)
    cdef _extend(self)
    cdef _extend_content(self, Py_ssize_t size)
