cimport cython

from fastrelay.receive._session cimport Session, SessionClient, SessionJournal
from fastrelay.smtpd.client cimport Client


cdef class Journal(SessionJournal):
    cdef bytes _service
    cdef object _line, _warning

    cpdef connected(self, Client client)
    @cython.locals(client=SessionClient)
    cpdef disconnected(self, Session session)
    @cython.locals(client=SessionClient)
    cpdef client_accepted(self, Session session)
    @cython.locals(queue_id=bytes, plain=cython.bint)
    cpdef message_ids(self, Session session, list ids)
