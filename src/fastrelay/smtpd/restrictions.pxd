cpdef bytes sender_of(session)


cdef class RecipientChecks:
    cdef public list _chains
    cdef object _journal
