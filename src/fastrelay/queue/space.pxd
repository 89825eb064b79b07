cimport cython

from fastrelay._clock cimport monotonic


cdef class SpaceCheck:
    cdef object _settings, _files, _clock, _directory
    cdef double _asked
    cdef unsigned long long _free, _minfree, _least
    cdef bint _closed, _few_inodes

    @cython.locals(now=double, room=bint)
    cpdef bint has_room(self, unsigned long long size) except -1
    cdef bint _allows(self, unsigned long long size)
    cdef _ask(self)
