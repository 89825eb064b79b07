cimport cython


cdef class SpaceCheck:
    cdef public object settings
    cdef object _files, _clock, _space
    cdef object _directory
    cdef double _asked
    cdef bint _closed

    @cython.locals(now=double, room=bint)
    cpdef bint has_room(self, size) except -1
    cdef bint _allows(self, size) except -1
