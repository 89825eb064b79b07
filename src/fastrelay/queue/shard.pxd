# the order in Issued is that of the dataclass's fields: its constructor takes it from here
cimport cython


cdef class Issued:
    cdef public Shard shard
    cdef public object segment, batch
    cdef public object floor
    cdef public list refused


cdef class Shard:
    cdef public object number, directory, segment_size, chunk, files, split_above, floor, warmed
    cdef public dict segments
    cdef public double lazy_since
    cdef public object pending, tail, queue, current, offset, batch_number, sequence, durable
    cdef public bint ready, vouched, full
    cdef public object spares, next_number, wanted_spares

    cpdef Issued issue(self)
    cdef _new_batch(self, segment)
    cdef _fill(self, segment)
    cpdef buffers(self, batch)
    cpdef written(self, segment, batch)
