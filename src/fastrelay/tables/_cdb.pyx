"""Read cdb files: what is in them stands in cdb.py, which opens them and asks for each lookup; cdb_build.py hashes.

The file is read with pread(2), never mapped, and every position and length is checked against its size before
it is used: a file that is cut or damaged while it is open gives CorruptFile, no crash and no wrong "not found".
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcmp
from posix.fcntl cimport O_CLOEXEC, O_NONBLOCK, O_RDONLY, open
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport close, pread

from fastrelay._bytes cimport FASTRELAY_DEBUG, bytes_ptr

cdef extern from "<sys/stat.h>" nogil:
    int stat(const char *, struct_stat *)

cdef enum:
    HEADER_SIZE = 2048
    SLOTS_AT_ONCE = 16
    RECORD_AT_ONCE = 512  # lengths, key and value of most records

HEADER = HEADER_SIZE

cdef int _live = 0


def live_objects() -> int:
    return _live


class CorruptFile(Exception):
    """The file is cut off or no cdb file."""


cdef inline uint32_t hash_of(bytes_ptr key, Py_ssize_t size) noexcept nogil:
    cdef uint32_t value = 5381
    cdef Py_ssize_t i
    for i in range(size):
        value = ((value << 5) + value) ^ key[i]
    return value


cdef inline uint32_t u32(bytes_ptr p) noexcept nogil:
    return p[0] | <uint32_t>p[1] << 8 | <uint32_t>p[2] << 16 | <uint32_t>p[3] << 24


def cdb_hash(bytes key not None) -> int:
    return hash_of(<bytes_ptr>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))


cdef class CdbFile:
    """An open file; OSError, CorruptFile."""

    cdef int fd
    cdef bytes path
    cdef struct_stat status
    cdef unsigned char header[HEADER_SIZE]

    def __cinit__(self, bytes path not None):
        self.fd = -1
        if FASTRELAY_DEBUG:
            global _live
            _live += 1
        self.path = path
        self.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if self.fd < 0 or fstat(self.fd, &self.status) != 0:
            raise OSError(errno, "open")
        self._read(self.header, HEADER_SIZE, 0)
        self._table(0)

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        if FASTRELAY_DEBUG:
            global _live
            _live -= 1

    def is_current(self) -> bool:
        """Is this what is at the path, and has nothing happened to it?"""
        cdef struct_stat now
        if stat(self.path, &now) != 0:
            raise OSError(errno, "stat")
        return (
            now.st_ctim.tv_nsec == self.status.st_ctim.tv_nsec
            and now.st_ctim.tv_sec == self.status.st_ctim.tv_sec
            and now.st_size == self.status.st_size
            and now.st_ino == self.status.st_ino
            and now.st_dev == self.status.st_dev
        )

    def get(self, bytes key not None):
        """The value of the first record with this key, None when there is none."""
        cdef unsigned char slots[8 * SLOTS_AT_ONCE]
        cdef uint32_t hashed = hash_of(<bytes_ptr>PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        cdef bytes_ptr entry = self.header + 8 * (hashed & 255)
        cdef uint64_t table = u32(entry)
        cdef uint64_t count = u32(entry + 4)
        cdef uint64_t at, left, some, i
        self._table(hashed & 255)
        if count == 0:
            return None
        at, left = (hashed >> 8) % count, count
        while left > 0:
            some = min(left, count - at, SLOTS_AT_ONCE)
            self._read(slots, 8 * some, table + 8 * at)
            for i in range(some):
                entry = slots + 8 * i
                if u32(entry + 4) == 0:
                    return None
                if u32(entry) == hashed:
                    value = self._value(u32(entry + 4), key)
                    if value is not None:
                        return value
            left -= some
            at = (at + some) % count
        return None

    def entries(self):
        """All records, in the file's order."""
        cdef unsigned char sizes[8]
        cdef uint64_t at = HEADER_SIZE
        cdef uint64_t end = min([self._table(number) for number in range(256)])
        while at < end:
            self._read(sizes, 8, at)
            record = self._bytes(<uint64_t>u32(sizes) + u32(sizes + 4), at + 8)
            yield record[: u32(sizes)], record[u32(sizes) :]
            at += 8 + len(record)

    cdef uint64_t _table(self, int number) except? 0:
        """Where a hash table begins."""
        cdef uint64_t position = u32(self.header + 8 * number)
        cdef uint64_t slots = u32(self.header + 8 * number + 4)
        if position < HEADER_SIZE or position + 8 * slots > <uint64_t>self.status.st_size:
            raise CorruptFile
        return position

    cdef object _value(self, uint64_t at, bytes key):
        """The value of the record at this position, None when its key is another."""
        cdef unsigned char record[RECORD_AT_ONCE]
        cdef uint64_t room = RECORD_AT_ONCE
        cdef uint64_t key_size, value_size
        if at + 8 > <uint64_t>self.status.st_size:
            raise CorruptFile
        if room > self.status.st_size - at:
            room = self.status.st_size - at
        self._read(record, room, at)
        key_size, value_size = u32(record), u32(record + 4)
        if at + 8 + key_size + value_size > <uint64_t>self.status.st_size:
            raise CorruptFile
        if key_size != <uint64_t>PyBytes_GET_SIZE(key):
            return None
        if 8 + key_size + value_size <= room:
            if memcmp(record + 8, PyBytes_AS_STRING(key), key_size) != 0:
                return None
            return PyBytes_FromStringAndSize(<char *>record + 8 + key_size, value_size)
        if self._bytes(key_size, at + 8) != key:
            return None
        return self._bytes(value_size, at + 8 + key_size)

    cdef bytes _bytes(self, uint64_t size, uint64_t at):
        if at + size > <uint64_t>self.status.st_size:  # before the memory is asked for
            raise CorruptFile
        cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
        self._read(<unsigned char *>PyBytes_AS_STRING(data), size, at)
        return data

    cdef int _read(self, unsigned char *target, uint64_t size, uint64_t at) except -1:
        cdef uint64_t done = 0
        cdef Py_ssize_t got
        if at + size > <uint64_t>self.status.st_size:
            raise CorruptFile
        while done < size:
            got = pread(self.fd, target + done, size - done, at + done)
            if got == 0:
                raise CorruptFile
            if got < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, "read")
            done += got
        return 0
