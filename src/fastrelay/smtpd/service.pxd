cdef class Client:
    cdef public bytes name, address
    cdef public bint is_local, is_clear
    cdef object _networks, _trusted
    cdef public tuple trace


cdef class Service:
    cdef public object settings, loop, journal, submit, rules
    cdef object _around, _received, _clock, _forbidden, _local_clients
    cdef public set _connections
    cdef bint _memory_is_tight
