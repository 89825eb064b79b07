"""Read the plain lines of a postmap(1) source into a Sorter, and hand the others on; admin/postmap.py calls it.

A source falls into blocks: a line that begins a logical line, and what follows up to the next such line. A block
of one line, in ASCII, without quotes, backslashes or anything to complain about is cut, folded and sorted here;
every other block goes to the plain Python reader (tables/source.py), which is the definition and the slow twin.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memchr

from fastrelay._bytes cimport Slice, bytes_ptr, lower, slice_bytes, slice_of
from fastrelay.tables._sorter cimport Sorter

cdef enum:
    MAX_KEY = 510  # LMDB's 511 less the NUL
    CHUNK = 1 << 20


cdef inline bint is_space(unsigned char c) noexcept nogil:
    return c == 32 or 9 <= c <= 13


cdef inline bint begins(unsigned char c) noexcept nogil:
    """Does a logical line begin with this?"""
    return not is_space(c) and c != c'#'


cdef bint cut(Slice line, bint fold, unsigned char *key, Py_ssize_t *key_size, Slice *value) noexcept nogil:
    """Cut a plain line into a key, put into `key`, and a value; False: it is not plain."""
    cdef Py_ssize_t i = 0, start
    cdef Py_ssize_t end = line.size
    cdef unsigned char c
    while i < end and not is_space(line.data[i]):
        c = line.data[i]
        if c >= 0x80 or c == c'"' or c == c'\\' or c == 0 or i == MAX_KEY:
            return False
        key[i] = lower(c) if fold else c
        i += 1
    key_size[0] = i
    while i < end and is_space(line.data[i]):
        i += 1
    while end > i and is_space(line.data[end - 1]):
        end -= 1
    if i == end or key[key_size[0] - 1] == c':':
        return False
    for start in range(i, end):
        if line.data[start] >= 0x80 or line.data[start] == 0:
            return False
    value[0] = slice_of(line.data + i, end - i)
    return True


cdef class Scanner:
    """`end`: what is put behind keys and values; `other(line number, block)` takes what is not plain."""

    cdef Sorter sorter
    cdef bytes end
    cdef bint fold
    cdef object other
    cdef long line  # the number of the next line

    def __cinit__(self, Sorter sorter not None, bytes end not None, bint fold, other):
        self.sorter, self.end, self.fold, self.other = sorter, end, fold, other
        self.line = 1

    def read(self, source) -> None:
        """Read the whole source, an open file."""
        rest = b""
        while True:
            chunk = source.read(max(CHUNK, len(rest)))
            text = rest + chunk
            rest = text[self._scan(text, not chunk):]
            if not chunk:
                return

    cdef Py_ssize_t _scan(self, bytes text, bint last) except -1:
        """Take the blocks that are whole; where what is left begins."""
        cdef bytes_ptr data = <bytes_ptr>PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef Py_ssize_t at = 0, stop, following, lines
        while at < size:
            lines = 0
            following = stop = at
            while True:
                stop = line_end(data, following, size)
                following = stop + 1 if stop < size else size
                lines += 1
                if following == size or begins(data[following]):
                    break
            if following == size and not last:
                break
            if lines > 1 or not begins(data[at]) or not self._plain(slice_of(data + at, stop - at)):
                self.other(self.line, text[at:following])
            self.line += lines
            at = following
        return at

    cdef bint _plain(self, Slice line) except -1:
        cdef unsigned char key[MAX_KEY]
        cdef Py_ssize_t size
        cdef Slice value
        if not cut(line, self.fold, key, &size, &value):
            return False
        self.sorter.put(slice_of(key, size), slice_bytes(self.end), self.line, value)
        return True


cdef inline Py_ssize_t line_end(bytes_ptr data, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    cdef bytes_ptr found = <bytes_ptr>memchr(data + at, c'\n', size - at)
    return size if found == NULL else found - data
