cimport cython


cdef class Job:
    cdef public list items
    cdef public Py_ssize_t size, number, ahead, credit
    cdef public double since


cdef class Line:
    cdef object _transport
    cdef public object singles
    cdef public Py_ssize_t jobs, waiting
    cdef dict _by_size
    cdef list _stack
    cdef Py_ssize_t _numbers, _gone

    cpdef push(self, item)
    cpdef push_job(self, list items, double since)
    @cython.locals(current=Job, size=Py_ssize_t)
    cpdef pop(self)
    cpdef Py_ssize_t messages(self)
    cpdef double waiting_since(self)
    cdef Job _head(self)
    @cython.locals(cost=Py_ssize_t, most=Py_ssize_t, best=Py_ssize_t, size=Py_ssize_t, score=double,
                   best_score=double, now=double, needed=double, job=Job)
    cdef Py_ssize_t _passing(self, Job current)
    cdef Job _begin(self, Py_ssize_t size)
    cdef _remove(self, Job job)
    cdef _pop_single(self)
    cdef _end_job(self)
