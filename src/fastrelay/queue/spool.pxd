cimport cython

from fastrelay.borders cimport Outcome
from fastrelay.queue.commit cimport Committer
from fastrelay.queue.shard cimport Issued, Shard


cdef class Spool:
    cdef public object entries, patience
    cdef public list problems
    cdef public Committer _committer
    cdef public object _preparer
    cdef readonly object space
    cdef object _settings, _files, _directory, _numbers, _critical, _cleaner, _quarantine, _newest
    cdef public dict _shards, _unwritten
    cdef public list _all, _lazy
    cdef public Py_ssize_t _current
    cdef list _lost, _settle_again
    cdef double _retry_at
    cdef bint _running

    @cython.locals(shard=Shard)
    cpdef append(self, message_id, envelope, content, done, bint hold=*)
    @cython.locals(shard=Shard)
    cpdef bint has_room(self, size)
    @cython.locals(shard=Shard, outcome=Outcome)
    cpdef record(self, entry, outcomes, double next_try=*)
    cpdef completed(self)
    @cython.locals(shard=Shard)
    cdef _batch_done(self, Issued done)
    cdef _appended(self, Shard shard, entry, record)
    cdef bint _flushed(self, Shard shard, double now)
    cdef _make_lazy(self, Shard shard)
    cdef _ended(self, entry, Shard shard)
