cimport cython

cdef unsigned long long _SHARD, _EPOCH, _BITS


@cython.locals(moment=cython.ulonglong, seconds=cython.ulonglong, microseconds=cython.ulonglong, shard=cython.ulonglong)
cpdef bytes encode(unsigned long long message_id, bint long)


cdef bytes _short(unsigned long long microseconds, unsigned long long rest)
