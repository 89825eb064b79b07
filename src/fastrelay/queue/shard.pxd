# the order in Issued is that of the dataclass's fields: its constructor takes it from here
cimport cython

from fastrelay.queue._batch cimport Batch
from fastrelay.queue._record cimport Record
from fastrelay.queue.segment cimport Segment


cdef class Issued:
    cdef public Shard shard
    cdef public Segment segment
    cdef public Batch batch
    cdef public object floor
    cdef public list refused


cdef class Shard:
    cdef public object directory, segment_size, chunk, files, floor, warmed
    cdef public unsigned long long number, split_above, batch_number, sequence
    cdef public dict segments
    cdef public double lazy_since
    cdef public list pending, queue
    cdef public Record tail
    cdef public Segment current
    cdef public long long offset
    cdef public tuple durable
    cdef public bint ready, vouched, full
    cdef public object spares, next_number, wanted_spares

    @cython.locals(begun=Record)
    cpdef Issued issue(self)
    cdef Batch _new_batch(self, Segment segment)
    @cython.locals(batch=Batch, record=Record, taken=Py_ssize_t)
    cdef Batch _fill(self, Segment segment)
    cpdef Batch ready_to_write(self, Batch batch)
    cpdef written(self, Segment segment, Batch batch)
