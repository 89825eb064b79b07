"""The thread that makes a batch durable: one pwritev (or as few as it takes), one fdatasync, no GIL in between.

commit.py hands over one batch at a time and hears of its end by an eventfd, so that the thread never takes
part in the interpreter's turns: a thread that must have the GIL back waits up to 5 ms for it under load.
Where the segment has a descriptor for direct writes (open(2), O_DIRECT) the batch is joined in aligned memory
and written past the page cache. Invariant: what is handed to start() is kept alive until result().
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastrelay.queue._batch cimport Batch
from fastrelay.queue.segment cimport Segment

import os

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    ssize_t pwritev(int fd, const iovec *iov, int count, long offset)

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)

cdef extern from "<unistd.h>" nogil:
    int fdatasync(int fd)
    ssize_t write(int fd, const void *data, size_t size)

cdef extern from "<semaphore.h>" nogil:
    ctypedef struct sem_t:
        pass
    int sem_init(sem_t *sem, int shared, unsigned int value)
    int sem_post(sem_t *sem)
    int sem_wait(sem_t *sem)
    int sem_destroy(sem_t *sem)

cdef int IOV_LIMIT = 1024  # IOV_MAX of Linux
cdef size_t BLOCK = 4096  # what batches start on and end with
cdef size_t STAGE = 1 << 20  # bytes of one direct write


cdef class SyncThread:
    """The part without the GIL; `run` is the thread's body, the rest is called by the loop's thread."""

    cdef sem_t wake
    cdef sem_t ended
    cdef iovec *vector
    cdef Py_buffer *views  # of what is no Batch
    cdef Batch batch
    cdef int count, held, fd, direct, wake_fd
    cdef char *stage  # of STAGE bytes, once a direct write was wanted
    cdef long offset
    cdef volatile int error
    cdef volatile bint stopping
    cdef volatile bint finished

    def __cinit__(self, int wake_fd):
        sem_init(&self.wake, 0, 0)
        sem_init(&self.ended, 0, 0)
        self.wake_fd = wake_fd

    def __dealloc__(self):
        self.release()
        free(self.stage)
        sem_destroy(&self.wake)
        sem_destroy(&self.ended)

    cdef void release(self) noexcept:
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])
        free(self.views)
        free(self.vector)
        self.views, self.vector, self.held, self.batch = NULL, NULL, 0, None

    def start(self, Segment segment, what, long offset):
        """Begin to write a Batch, or a list of buffers, at `offset`; the one before was asked for its result."""
        self.direct = segment.direct
        if self.direct >= 0 and self.stage == NULL and posix_memalign(<void **>&self.stage, BLOCK, STAGE) != 0:
            raise MemoryError
        if isinstance(what, Batch):
            self.take_batch(<Batch>what)
        else:
            self.take_buffers(what)
        self.fd, self.offset, self.error, self.finished = segment.fd, offset, 0, False
        sem_post(&self.wake)

    cdef int make_vector(self, Py_ssize_t count) except -1:
        self.count = <int>count
        self.vector = <iovec *>malloc(count * sizeof(iovec))
        if self.vector == NULL:
            raise MemoryError
        return 0

    cdef int take_batch(self, Batch batch) except -1:
        cdef int i
        self.make_vector(batch.count)
        self.batch = batch
        for i in range(self.count):
            self.vector[i].iov_base = <void *>batch.spans[i].data
            self.vector[i].iov_len = batch.spans[i].size
        return 0

    cdef int take_buffers(self, list buffers) except -1:
        cdef int i
        self.make_vector(len(buffers))
        self.views = <Py_buffer *>malloc(self.count * sizeof(Py_buffer))
        if self.views == NULL:
            raise MemoryError
        for i in range(self.count):
            PyObject_GetBuffer(buffers[i], &self.views[i], PyBUF_SIMPLE)
            self.held += 1
            self.vector[i].iov_base = self.views[i].buf
            self.vector[i].iov_len = self.views[i].len
        return 0

    @property
    def is_finished(self):
        return self.finished

    def wait(self):
        """Until the batch is done."""
        with nogil:
            while sem_wait(&self.ended) != 0:
                pass
        sem_post(&self.ended)

    def result(self):
        """The batch is durable, or OSError: none of it may be relied on."""
        assert self.finished
        while sem_wait(&self.ended) != 0:
            pass
        self.finished = False
        self.release()
        if self.error:
            raise OSError(self.error, os.strerror(self.error))

    def stop(self):
        """Let the thread end; nothing is in flight."""
        self.stopping = True
        sem_post(&self.wake)

    def run(self):
        with nogil:
            while True:
                while sem_wait(&self.wake) != 0:
                    pass
                if self.stopping:
                    break
                self.error = self.write_all() if self.direct < 0 else self.write_direct()
                if self.error == 0 and fdatasync(self.fd) != 0:
                    self.error = errno
                self.finished = True
                sem_post(&self.ended)
                self.signal()

    cdef int write_all(self) noexcept nogil:
        """Every byte, in as few calls as there can be; 0 or errno. A short write is completed or fatal."""
        cdef iovec *at = self.vector
        cdef int left = self.count
        cdef ssize_t done
        while left > 0:
            done = pwritev(self.fd, at, left if left < IOV_LIMIT else IOV_LIMIT, self.offset)
            if done < 0:
                if errno == EINTR:
                    continue
                return errno
            if done == 0:
                return EIO
            self.offset += done
            while left > 0 and <size_t>done >= at.iov_len:
                done -= at.iov_len
                at += 1
                left -= 1
            if done > 0:
                at.iov_base = <char *>at.iov_base + done
                at.iov_len -= done
        return 0

    cdef int write_direct(self) noexcept nogil:
        """The same past the page cache, by way of aligned memory."""
        cdef int at = 0
        cdef size_t taken = 0, size, step, left
        cdef ssize_t done
        cdef iovec piece
        while at < self.count:
            size = 0
            while at < self.count and size < STAGE:
                left = self.vector[at].iov_len - taken
                step = left if left < STAGE - size else STAGE - size
                memcpy(self.stage + size, <char *>self.vector[at].iov_base + taken, step)
                size += step
                taken += step
                if taken == self.vector[at].iov_len:
                    at += 1
                    taken = 0
            if size % BLOCK:
                return EIO  # not a batch
            piece.iov_base = self.stage
            piece.iov_len = size
            while piece.iov_len:
                done = pwritev(self.direct, &piece, 1, self.offset)
                if done < 0 and errno == EINTR:
                    continue
                if done <= 0:
                    return errno if done < 0 else EIO
                self.offset += done
                piece.iov_base = <char *>piece.iov_base + done
                piece.iov_len -= done
        return 0

    cdef void signal(self) noexcept nogil:
        """Wake the loop: its eventfd counts, so that a wake-up is never lost."""
        cdef uint64_t one = 1
        while write(self.wake_fd, &one, sizeof(one)) < 0 and errno == EINTR:
            pass
