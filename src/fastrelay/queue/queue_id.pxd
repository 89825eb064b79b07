cimport cython


@cython.locals(moment=cython.ulonglong, seconds=cython.ulonglong, microseconds=cython.ulonglong, shard=cython.ulonglong)
cpdef bytes encode(unsigned long long message_id, bint long)


@cython.locals(found=bytearray, at=Py_ssize_t)
cdef bytes _short(unsigned long long microseconds, unsigned long long rest)
