cdef class RecipientCheck:
    cdef object _settings, _resolver, _always_known
    cdef list _rewriting
    cdef bytes _delimiters, _origin
    cdef dict _tables
