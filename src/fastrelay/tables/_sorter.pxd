from libc.stdint cimport uint64_t

from fastrelay._bytes cimport ByteBuffer, Slice, bytes_ptr

cdef struct Mark:
    uint64_t prefix  # the key's first eight bytes as a number, most comparisons need no more
    bytes_ptr entry  # while entries are added: where it begins in the buffer, as a number

cdef class Sorter:
    cdef object directory
    cdef Py_ssize_t budget
    cdef ByteBuffer data
    cdef Mark *marks
    cdef Py_ssize_t count
    cdef Py_ssize_t room  # for so many marks
    cdef list runs
    cdef readonly uint64_t file_room  # room that the entries need in an LMDB file, at most
    cdef readonly uint64_t added  # entries
    cdef int put(self, Slice key, Slice end, uint64_t line, Slice value) except -1
    cdef int _grow(self) except -1
    cdef int _sort(self) except -1
    cdef int _spill(self) except -1
