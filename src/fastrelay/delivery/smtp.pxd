from fastrelay.delivery.session_cache cimport SessionCache


cdef class SmtpAgent:
    cdef public object settings, report, log, clock, now
    cdef object _resolver, _poller, _waiting, _sweeping, _idle, _smtp_port
    cdef SessionCache _cache
    cdef public set _sessions, _tasks
    cdef public Py_ssize_t _opening
    cdef dict _avoid
    cdef double _sweep_interval
    cdef bint _closing

    cpdef open_slot(self, queue)
    cpdef run_ended(self, dialogue, queue)
    cdef bint _may_cache(self, dialogue) except -1
    cdef _fill(self, queue)
    cdef bint _is_full(self)
