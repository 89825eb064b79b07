cdef class Journal:
    cdef bytes _service
    cdef object _line, _warning
