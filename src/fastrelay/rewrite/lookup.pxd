cimport cython

from fastrelay.rewrite._address cimport Address


cdef bytes first_answer(list gets, bytes key)


cdef class AddressMaps:
    cdef list _all, _whole

    cpdef find(self, bytes key)
    cpdef find_partial(self, bytes key)
    @cython.locals(external=bytes)
    cpdef find_mailbox(self, Address address, bytes user)
    @cython.locals(external=bytes, local=bytes, domain=bytes)
    cpdef find_address(self, Address address, bytes user, bint is_local)


cdef class AddressKeys:
    cdef bytes _delimiters, _origin
    cdef bint _owner_request_special
    cdef object _is_local

    cpdef bytes user(self, bytes local)


cpdef tuple split_extension(bytes local, bytes delimiters, bint owner_request_special)
