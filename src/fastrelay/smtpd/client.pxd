cdef class Client:
    cdef public bytes name, address
    cdef public bint is_local, is_clear
    cdef object _networks, _trusted
