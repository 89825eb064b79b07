# the order is that of the dataclass's fields: its constructor takes it from here


cdef class Segment:
    cdef public unsigned long long number
    cdef public int fd
    cdef public unsigned long long salt
    cdef public long long size
    cdef public int direct
    cdef public Py_ssize_t live
    cdef public long long live_bytes
