from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

cdef struct Slot:
    uint64_t key
    PyObject *value  # NULL: free


cdef class Index:
    cdef Slot *slots
    cdef uint64_t size, used

    cpdef put(self, uint64_t key, value)
    cpdef pop(self, uint64_t key, default=*)
    cdef int allocate(self, uint64_t size) except -1
    cdef uint64_t find(self, uint64_t key) noexcept
    cdef int resize(self, uint64_t size) except -1
    cdef void close_up(self, uint64_t hole) noexcept
    cdef Slot *sorted_copy(self) except NULL
