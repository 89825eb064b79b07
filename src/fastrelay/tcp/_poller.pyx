"""An epoll set that uvloop watches as one descriptor (epoll(7)): what is ready in it is served in one go.

A uvloop transport costs a connection about a dozen Python objects and six system calls beside accept and close; here a
connection is one object, and what all events of a round want done once (start a batch, pump the queue) is
done once, at its end: `soon`. Owned by the worker; sources are _stream.pyx's Listener and Stream, and Wakeup.

Invariants: a source is alive while it is in the set, and until the end of the round in which it left it, so
that an event that was fetched with others never finds it gone; a descriptor leaves the set before it is closed.
"""

from libc.errno cimport EINTR, errno
from libc.stdlib cimport free, malloc

import os

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLL_CTL_MOD
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event)
    int epoll_wait(int epfd, epoll_event *events, int count, int timeout)

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef enum:
    ROUNDS = 8  # before uvloop has its turn again


cdef class Source:
    def __cinit__(self):
        self.fd = -1

    cdef int ready(self, uint32_t events) except -1:
        """Serve these events; nothing a peer can cause raises."""
        raise NotImplementedError

    def fileno(self):
        return self.fd


cdef class Wakeup(Source):
    """A descriptor, of an eventfd say, whose owner is called at the end of a round in which it is readable.

    The owner reads it empty, and closes it after stop().
    """

    cdef object call

    def __init__(self, Poller poller, int fd, call):
        self.call = call
        self.poller, self.fd = poller, fd
        poller.watch(self, EPOLLIN)

    cdef int ready(self, uint32_t events) except -1:
        if self.fd >= 0:
            self.poller.soon(self.call)
        return 0

    def stop(self):
        if self.fd >= 0:
            self.poller.forget(self)
            self.fd = -1


cdef class Poller:
    def __cinit__(self):
        self.fd = -1
        self.buffer = <char *>malloc(READ)
        if self.buffer == NULL:
            raise MemoryError

    def __init__(self, loop):
        self.loop = loop
        self.late, self.gone, self.sources = [], [], set()
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, os.strerror(errno))
        loop.add_reader(self.fd, self._serve)

    def __dealloc__(self):
        free(self.buffer)
        if self.fd >= 0:
            close(self.fd)

    def close(self):
        """After all sources are gone."""
        if self.fd >= 0:
            self.loop.remove_reader(self.fd)
            close(self.fd)
            self.fd = -1

    def __len__(self):
        """Descriptors in the set."""
        return len(self.sources)

    cpdef soon(self, call):
        """Have `call` called once the events that are being served are served, or in the loop's next turn."""
        self.late.append(call)
        if not self.in_round and not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._late)

    # What sources ask

    cdef int watch(self, Source source, uint32_t events) except -1:
        """Begin to call its ready()."""
        self.control(EPOLL_CTL_ADD, source, events)
        self.sources.add(source)
        return 0

    cdef int change(self, Source source, uint32_t events) except -1:
        return self.control(EPOLL_CTL_MOD, source, events)

    cdef int forget(self, Source source) except -1:
        """Out of the set; its descriptor is still open."""
        self.control(EPOLL_CTL_DEL, source, 0)
        if self.serving:
            self.gone.append(source)
        self.sources.discard(source)
        return 0

    cdef report(self, str message, error, source):
        """As asyncio's transports do: the loop's exception handler decides what becomes of it."""
        self.loop.call_exception_handler({"message": message, "exception": error, "transport": source})

    # Inside

    cdef int control(self, int what, Source source, uint32_t events) except -1:
        cdef epoll_event event
        event.events = events
        event.data.ptr = <void *>source
        if epoll_ctl(self.fd, what, source.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    def _serve(self):
        """uvloop says that something in the set is ready."""
        cdef int rounds
        self.in_round = True
        try:
            for rounds in range(ROUNDS):
                if self.round() == 0:
                    break
                self.run_late()
        finally:
            self.end()

    cdef int round(self) except -1:
        """Serve what is ready; the number of events."""
        cdef int i, count
        cdef Source source
        count = epoll_wait(self.fd, self.events, EVENTS, 0)
        if count < 0:
            if errno == EINTR:
                return 0
            raise OSError(errno, os.strerror(errno))
        self.serving = True
        try:
            for i in range(count):
                source = <Source>self.events[i].data.ptr
                source.ready(self.events[i].events)
        finally:
            self.serving = False
            self.gone.clear()
        return count

    def _late(self):
        """The loop's next turn is a round without events."""
        self.scheduled = False
        self.in_round = True
        try:
            self.run_late()
        finally:
            self.end()

    cdef int end(self) except -1:
        self.in_round = False
        if self.late and not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self._late)
        return 0

    cdef int run_late(self) except -1:
        """What was asked for until now; what these calls ask for has its turn after them."""
        cdef list calls
        if self.late:
            calls, self.late = self.late, []
            for call in calls:
                try:
                    call()
                except Exception as error:
                    self.report("a call at the end of a round failed", error, None)
        return 0
