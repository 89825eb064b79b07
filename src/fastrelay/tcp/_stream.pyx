"""A TCP connection in a Poller, with the methods of asyncio.Transport that SMTP needs, and the socket that accepts them.

Differs from asyncio's: a write is tried at once; connection_lost comes at the end of the round. What a peer
does is never an exception here: its errors end the stream, and connection_lost gets them. An exception of the
protocol goes to the loop's exception handler and ends the stream. Invariants: the descriptor is the stream's own;
`backlog` holds what the kernel did not take, in order, and nothing is sent before it; connection_lost is called
once. The bound on the backlog is its owner's: it hears pause_writing and knows get_write_buffer_size.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EBADF, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOTSOCK, errno
from libc.stdint cimport uint16_t, uint32_t

import os
import socket

from fastrelay.tcp._poller cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, READ, Poller, Source

cdef extern from "<arpa/inet.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        unsigned short sa_family
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    struct sockaddr_storage:
        unsigned short ss_family
    int AF_INET, AF_INET6
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size)
    uint16_t ntohs(uint16_t)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL, MSG_DONTWAIT, MSG_MORE, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size)

cdef extern from "<sys/ioctl.h>" nogil:
    unsigned long FIONREAD
    int ioctl(int fd, unsigned long request, ...)

cdef extern from "<unistd.h>" nogil:
    int c_close "close" (int fd)

cdef extern from *:
    const bint FASTRELAY_DEBUG

cdef enum:
    ACCEPTS = 64  # in one round
    HIGH_WATER = 65536  # bytes of backlog above which the protocol is to pause

cdef double ACCEPT_PAUSE = 1.0  # seconds, when there are no descriptors or no memory for a connection
cdef int _live = 0


def live_objects():
    """Streams that exist (debug build), else 0."""
    return _live


cdef class Protocol:
    """Base of the protocols that a Stream calls for each read without a look-up."""

    cpdef data_received(self, bytes data):
        raise NotImplementedError


cdef class Stream(Source):
    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __init__(self, Poller poller not None, int fd, protocol, peername=None):
        """Takes over `fd`, a connected socket that does not block; it is closed when this fails, too."""
        self.poller, self.fd, self.peername = poller, fd, peername
        self.attach(protocol)
        self.high = HIGH_WATER
        self.reading = True
        poller.watch(self, EPOLLIN)

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1
        if self.fd >= 0:
            c_close(self.fd)

    # What asyncio.Transport has

    def get_extra_info(self, name, default=None):
        return self.peername if name == "peername" else default

    def set_protocol(self, protocol):
        self.attach(protocol)

    def get_protocol(self):
        return self.protocol

    def is_closing(self):
        return self.closing

    def is_reading(self):
        return self.reading and not self.closing

    def get_write_buffer_size(self):
        """Bytes that the kernel has not taken yet."""
        return self.size

    def set_write_buffer_limits(self, high=None, low=None):
        """pause_writing is called above `high`, resume_writing at a quarter of it."""
        self.high = HIGH_WATER if high is None else high

    def pause_reading(self):
        if self.reading:
            self.reading = False
            self.want()

    def resume_reading(self):
        if not self.reading:
            self.reading = True
            self.want()

    cpdef write(self, data):
        """Send `data`, bytes or a view of them; what the kernel does not take now is kept for later."""
        cdef ssize_t done = 0
        cdef Py_buffer view
        if self.closing:
            return
        if self.size == 0:
            if PyBytes_CheckExact(data):
                done = self.push(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            else:
                PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
                done = self.push(<const char *>view.buf, view.len)
                PyBuffer_Release(&view)
            if done < 0 or done == len(data):
                return
        self.keep(data if PyBytes_CheckExact(data) else bytes(data), done)

    cpdef write_last(self, data):
        """Write and close: when the kernel takes `data` at once, it goes in one segment with the stream's end."""
        if not self.closing:
            self.more = 0 if self.unread() else MSG_MORE  # close(2) with something unread throws away what is held back
            self.write(data)
            self.more = 0
            self.close()

    cpdef close(self):
        """What was written is still sent; then connection_lost."""
        if not self.closing:
            self.closing = True
            if self.size == 0:
                self.finish(None)
            else:
                self.want()

    def abort(self):
        """At once; what was not sent is lost."""
        self.finish(None)

    # What it has beyond that

    cpdef int unread(self):
        """Bytes that have come and were not read (FIONREAD)."""
        cdef int waiting = 0
        if self.fd < 0 or ioctl(self.fd, FIONREAD, &waiting) < 0:
            return 0
        return waiting

    # Inside

    cdef int attach(self, protocol) except -1:
        self.protocol = protocol
        self.compiled = protocol if isinstance(protocol, Protocol) else None
        return 0

    cdef int ready(self, uint32_t events) except -1:
        cdef int reason = 0
        cdef socklen_t size = sizeof(reason)
        if events & EPOLLOUT and self.fd >= 0 and self.size:
            self.flush()
        if self.fd < 0 or not events & (EPOLLIN | EPOLLHUP | EPOLLERR):
            return 0
        if self.reading and not self.closing:
            self.receive()
        elif events & (EPOLLHUP | EPOLLERR):
            getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &reason, &size)
            self.finish(os_error(reason) if reason else None)
        return 0

    cdef Py_ssize_t push(self, const char *data, Py_ssize_t size) except -2:
        """The number of bytes that the kernel took; -1: the connection is gone."""
        cdef ssize_t done = send(self.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | self.more) if size else 0
        if done >= 0:
            return done
        if errno == EAGAIN or errno == EINTR:
            return 0
        self.finish(os_error(errno))
        return -1

    cdef int keep(self, bytes data, Py_ssize_t done) except -1:
        """Put what is left of `data` behind the backlog."""
        if self.size == 0:
            self.backlog, self.sent = [], done
        self.backlog.append(data)
        self.size += PyBytes_GET_SIZE(data) - done
        if len(self.backlog) == 1:
            self.want()
        return self.told()

    cdef int receive(self) except -1:
        cdef ssize_t got = recv(self.fd, self.poller.buffer, READ, 0)
        cdef Protocol compiled = self.compiled  # held: it may put another in its place
        if got < 0:
            if errno != EAGAIN and errno != EINTR:
                self.finish(os_error(errno))
            return 0
        try:
            if got > 0 and compiled is not None:
                compiled.data_received(PyBytes_FromStringAndSize(self.poller.buffer, got))
            elif got > 0:
                self.protocol.data_received(PyBytes_FromStringAndSize(self.poller.buffer, got))
            elif self.protocol.eof_received():
                self.pause_reading()  # it would be ready for ever
            else:
                self.close()
        except Exception as error:
            self.poller.report("the protocol of a stream failed", error, self)
            self.finish(error)
        return 0

    cdef int flush(self) except -1:
        """Send of the backlog what the kernel takes."""
        cdef bytes octets
        cdef Py_ssize_t done, left
        cdef int at = 0
        while self.size:
            octets = self.backlog[at]
            left = PyBytes_GET_SIZE(octets) - self.sent
            done = self.push(PyBytes_AS_STRING(octets) + self.sent, left)
            if done < 0:
                return 0
            self.size -= done
            if done < left:
                self.sent += done
                break
            self.sent = 0
            at += 1
        del self.backlog[:at]
        if self.size == 0:
            if self.closing:
                self.finish(None)
                return 0
            self.want()
        return self.told()

    cdef int want(self) except -1:
        """Ask for the events that are of use now."""
        if self.fd >= 0:
            self.poller.change(
                self, (EPOLLIN if self.reading and not self.closing else 0) | (EPOLLOUT if self.size else 0)
            )
        return 0

    cdef int told(self) except -1:
        """Let the protocol know when its backlog grows too long, and when it may write again."""
        try:
            if self.size > self.high and not self.full:
                self.full = True
                self.protocol.pause_writing()
            elif self.full and self.size <= self.high // 4:
                self.full = False
                self.protocol.resume_writing()
        except Exception as error:
            self.poller.report("the protocol of a stream failed", error, self)
            self.finish(error)
        return 0

    cdef int finish(self, error) except -1:
        """Close the descriptor; the protocol hears of it at the end of the round."""
        if self.fd < 0:
            return 0
        self.closing = True
        self.poller.forget(self)
        c_close(self.fd)
        self.fd = -1
        self.size, self.backlog, self.error = 0, None, error
        self.poller.soon(self._lost)
        return 0

    def _lost(self):
        protocol, self.protocol, self.compiled = self.protocol, None, None
        if protocol is not None:  # None: it could not even be made
            protocol.connection_lost(self.error)


cdef class Listener(Source):
    """A listening socket: each connection becomes a Stream with the protocol that `factory` makes."""

    def __init__(self, Poller poller not None, listener not None, factory):
        """Takes over `listener`; TCP_NODELAY is inherited by what it accepts (tcp(7))."""
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.poller, self.sock, self.factory, self.fd = poller, listener, factory, listener.fileno()
        poller.watch(self, EPOLLIN)

    def close(self):
        """Accept no more."""
        if self.fd >= 0:
            self.poller.forget(self)
            self.fd = -1
            self.sock.close()

    cdef int ready(self, uint32_t events) except -1:
        cdef int i, fd
        cdef sockaddr_storage address
        cdef socklen_t size
        for i in range(ACCEPTS):
            if self.fd < 0:
                break
            size = sizeof(address)
            fd = accept4(self.fd, <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.admit(fd, peer(&address))
            elif errno == EAGAIN:
                break
            elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self.rest(errno)
                break
            elif errno in (EBADF, EINVAL, ENOTSOCK):
                raise os_error(errno)
            # else one connection has gone already, and there may be others: accept(2), error handling
        return 0

    cdef int admit(self, int fd, peername) except -1:
        cdef Stream stream
        try:
            stream = Stream(self.poller, fd, None, peername)
        except OSError as error:
            self.poller.report("accept", error, self)
            return 0
        try:
            protocol = self.factory()
            stream.attach(protocol)
            protocol.connection_made(stream)
        except Exception as error:
            self.poller.report("a connection could not be made", error, self)
            stream.finish(error)
        return 0

    cdef int rest(self, int reason) except -1:
        """Accept nothing for a while; who comes waits in the kernel's backlog."""
        self.poller.change(self, 0)
        self.poller.report("accept", os_error(reason), self)
        self.poller.loop.call_later(ACCEPT_PAUSE, self._go_on)
        return 0

    def _go_on(self):
        if self.fd >= 0:
            self.poller.change(self, EPOLLIN)


cdef os_error(int reason):
    return OSError(reason, os.strerror(reason))


cdef str dotted(const unsigned char *address):
    """As inet_ntop(3), which asks sprintf for each number."""
    cdef char text[16]
    cdef char *out = text
    cdef int i, value
    for i in range(4):
        value = address[i]
        if value >= 100:
            out[0] = 48 + value // 100
            out += 1
        if value >= 10:
            out[0] = 48 + value // 10 % 10
            out += 1
        out[0] = 48 + value % 10
        out[1] = 46
        out += 2
    return text[:out - text - 1].decode("ascii")


cdef tuple peer(sockaddr_storage *address):
    """(host, port) as getpeername gives them, or None."""
    cdef char text[64]
    cdef sockaddr_in *four = <sockaddr_in *>address
    cdef sockaddr_in6 *six = <sockaddr_in6 *>address
    if address.ss_family == AF_INET:
        return dotted(<const unsigned char *>&four.sin_addr), ntohs(four.sin_port)
    if address.ss_family == AF_INET6:
        inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
        return text.decode("ascii"), ntohs(six.sin6_port)
    return None
