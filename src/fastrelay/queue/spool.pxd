cimport cython

from fastrelay.borders cimport Envelope, Outcome
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._index cimport Index
from fastrelay.queue._record cimport Record, message_record
from fastrelay.queue.commit cimport Committer
from fastrelay.queue.segment cimport Segment
from fastrelay.queue.shard cimport Issued, Shard
from fastrelay.queue.space cimport SpaceCheck


cdef class Spool:
    cdef public Index entries
    cdef public object patience
    cdef public list problems
    cdef public Committer _committer
    cdef public object _preparer
    cdef readonly SpaceCheck space
    cdef object _settings, _files, _directory, _numbers, _critical, _cleaner, _quarantine
    cdef unsigned long long _newest
    cdef public dict _shards, _unwritten
    cdef public list _all, _lazy
    cdef public Py_ssize_t _current
    cdef list _lost, _settle_again
    cdef double _retry_at
    cdef bint _running

    @cython.locals(shard=Shard, moment=cython.ulonglong)
    cpdef unsigned long long new_id(self, double now, unsigned long long beside=*)
    @cython.locals(shard=Shard, record=Record)
    cpdef Record append(
        self, unsigned long long message_id, Envelope envelope, content, done, bint hold=*
    )
    @cython.locals(shard=Shard)
    cpdef bint has_room(self, size)
    @cython.locals(shard=Shard, outcome=Outcome)
    cpdef record(self, Entry entry, outcomes, double next_try=*)
    cpdef completed(self)
    @cython.locals(shard=Shard, segment=Segment, entry=Entry, record=Record)
    cdef _batch_done(self, Issued done)
    @cython.locals(segment=Segment)
    cdef _appended(self, Shard shard, Entry entry, Record record)
    cdef bint _flushed(self, Shard shard, double now)
    cdef _make_lazy(self, Shard shard)
    @cython.locals(segment=Segment)
    cdef _ended(self, Entry entry, Shard shard)
