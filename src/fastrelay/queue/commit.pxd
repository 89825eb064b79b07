cimport cython

from fastrelay.queue._record cimport Record
from fastrelay.queue.pace cimport Pace
from fastrelay.queue.shard cimport Issued, Shard


cdef class Committer:
    cdef public int wake_fd
    cdef public object landed
    cdef object _writer, _starved, _fatal, _ready, _lock, _thread
    cdef bint _failed, _running, _begins
    cdef Pace _pace
    cdef int _came
    cdef public Issued _flying
    cdef list _done, _calls

    cpdef put(self, Shard shard, Record record, bint urgent=*)
    @cython.locals(tail=Record)
    cpdef Record outcomes(self, Shard shard)
    cpdef kick(self, Shard shard)
    cpdef list take(self)
    @cython.locals(issued=Issued)
    cdef _land(self)
    cdef _start(self)
    cdef bint _is_early(self) except -1
    cdef _queue_again(self, Shard shard)
    @cython.locals(shard=Shard)
    cdef _issue(self)
    @cython.locals(issued=Issued)
    cdef _turn(self, Shard shard)
