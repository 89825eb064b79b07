from libc.stdint cimport uint32_t, uint64_t


cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
    ctypedef union epoll_data_t:
        void *ptr
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data


cdef enum:
    EVENTS = 256  # taken at once
    READ = 262144  # bytes of one read at most


cdef class Source:
    """A descriptor in the set; `fd` is -1 once it is out of it."""

    cdef int fd
    cdef Poller poller

    cdef int ready(self, uint32_t events) except -1


cdef class Poller:
    cdef readonly object loop
    cdef char *buffer  # READ bytes, good until the next read
    cdef int fd
    cdef bint in_round, serving, scheduled
    cdef list late, gone
    cdef set sources
    cdef epoll_event events[EVENTS]

    cdef int control(self, int what, Source source, uint32_t events) except -1
    cdef int watch(self, Source source, uint32_t events) except -1
    cdef int change(self, Source source, uint32_t events) except -1
    cdef int forget(self, Source source) except -1
    cpdef soon(self, call)
    cdef int run_late(self) except -1
    cdef int round(self) except -1
    cdef int end(self) except -1
    cdef report(self, str message, error, source)
