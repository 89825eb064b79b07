cdef class Maps:
    cdef public list tables
    cdef list _gets

    cpdef find(self, bytes key)
