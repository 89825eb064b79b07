cimport cython

from fastrelay.smtpd.client cimport Client


cdef class Journal:
    cdef bytes _service
    cdef object _line, _warning

    cpdef connected(self, Client client)
    @cython.locals(client=Client)
    cpdef disconnected(self, session)
    @cython.locals(client=Client)
    cpdef client_accepted(self, session)
