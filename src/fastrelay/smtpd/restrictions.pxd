cimport cython

from fastrelay.receive._session cimport Session
from fastrelay.rewrite._address cimport Address
from fastrelay.smtpd.client cimport Client


@cython.locals(sender=Address)
cpdef bytes sender_of(Session session)
@cython.locals(client=Client)
cpdef permit_mynetworks(Session session, _candidate)


cdef class RecipientChecks:
    cdef public list _chains
    cdef object _journal
