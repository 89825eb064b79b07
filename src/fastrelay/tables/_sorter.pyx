"""Sort a table's entries by key and line, more of them than memory is to hold; build.py makes the file of them.

Entries lie one after another in one buffer; what is sorted is an index of (first bytes of the key, where).
When both reach the budget, they go to an unnamed file as a sorted run, and the runs are merged with a heap
at the end. _source.pyx adds lines without making objects of them, Python adds with add().
The slow twin is sorted() in tests/reference/source_reference.py.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, qsort, realloc
from libc.string cimport memcmp, memcpy, memmove

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, Slice, buffer_append, buffer_free, buffer_init, buffer_object,
    bytes_ptr, slice_bytes, slice_object, slice_of,
)

import tempfile

cdef struct Head:  # before each entry's key and value
    uint64_t line
    uint32_t key_size
    uint32_t value_size

cdef struct Entry:
    Slice key
    Slice value
    uint64_t line

cdef enum:
    BLOCK = 1 << 18  # runs are written and read by so many bytes
    PAGE = 4096
    NODE = 24  # bytes that LMDB needs around a small entry

_BUDGET = 128 << 20

cdef int _live = 0


def live_objects() -> int:
    return _live


cdef inline void count_live(int change) noexcept:
    global _live
    if FASTRELAY_DEBUG:
        _live += change


cdef inline uint64_t prefix_of(Slice key) noexcept nogil:
    cdef uint64_t prefix = 0
    cdef Py_ssize_t i
    for i in range(8):
        prefix = prefix << 8 | (key.data[i] if i < key.size else 0)
    return prefix


cdef inline Py_ssize_t entry_at(bytes_ptr data, Entry *entry) noexcept nogil:
    """Read the entry at `data`; its size."""
    cdef Head head
    memcpy(&head, data, sizeof(Head))
    entry.line = head.line
    entry.key = slice_of(data + sizeof(Head), head.key_size)
    entry.value = slice_of(entry.key.data + head.key_size, head.value_size)
    return sizeof(Head) + head.key_size + head.value_size


cdef int compare(const Entry *a, const Entry *b) noexcept nogil:
    cdef Py_ssize_t common = a.key.size if a.key.size < b.key.size else b.key.size
    cdef int order = memcmp(a.key.data, b.key.data, common)
    if order != 0:
        return order
    if a.key.size != b.key.size:
        return 1 if a.key.size > b.key.size else -1
    return (a.line > b.line) - (a.line < b.line)


cdef int compare_marks(const void *a, const void *b) noexcept nogil:
    cdef const Mark *left = <const Mark *>a
    cdef const Mark *right = <const Mark *>b
    cdef Entry x, y
    if left.prefix != right.prefix:
        return 1 if left.prefix > right.prefix else -1
    entry_at(left.entry, &x)
    entry_at(right.entry, &y)
    return compare(&x, &y)


cdef class Sorter:
    """Takes entries in any order; unique() gives them back sorted, one a key. `budget`: bytes of memory."""

    def __cinit__(self, str directory, Py_ssize_t budget=_BUDGET):
        self.directory, self.budget = directory, budget
        buffer_init(&self.data)
        self.marks = NULL
        self.runs = []
        count_live(1)

    def __dealloc__(self):
        buffer_free(&self.data)
        free(self.marks)
        count_live(-1)

    def add(self, bytes key not None, uint64_t line, bytes value not None) -> None:
        self.put(slice_bytes(key), slice_of(NULL, 0), line, slice_bytes(value))

    def unique(self, bint replace, duplicate):
        """(key, value) in order, of a key's entries the first or, to `replace`, the last.

        The others are told to `duplicate(line, key)`, unless that is None.
        """
        if not self.runs:
            self._sort()
            return _Unique(self, None, replace, duplicate)
        self._spill()
        return _Unique(self, _Merge([_Run(file) for file in self.runs]), replace, duplicate)

    def close(self) -> None:
        for file in self.runs:
            file.close()

    cdef int put(self, Slice key, Slice end, uint64_t line, Slice value) except -1:
        """Add an entry; `end` is put behind the key and behind the value."""
        cdef Head head
        cdef Py_ssize_t start = self.data.size
        cdef Py_ssize_t size = key.size + value.size + 2 * end.size
        if value.size > 0xFFFFFFFF - PAGE or key.size > 0xFFFF:
            raise ValueError("a key or a value is too long for a table")
        head.line = line
        head.key_size, head.value_size = key.size + end.size, value.size + end.size
        if self.count == self.room:
            self._grow()
        buffer_append(&self.data, <bytes_ptr>&head, sizeof(Head))
        buffer_append(&self.data, key.data, key.size)
        buffer_append(&self.data, end.data, end.size)
        buffer_append(&self.data, value.data, value.size)
        buffer_append(&self.data, end.data, end.size)
        self.marks[self.count].entry = <bytes_ptr>start
        self.count += 1
        self.added += 1
        self.file_room += size + NODE if size < PAGE // 4 else size + 3 * PAGE
        if self.data.size + self.count * <Py_ssize_t>sizeof(Mark) > self.budget:
            self._spill()
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = self.room * 2 if self.room else 256
        cdef void *grown = realloc(self.marks, room * sizeof(Mark))
        if grown == NULL:
            raise MemoryError
        self.marks, self.room = <Mark *>grown, room
        return 0

    cdef int _sort(self) except -1:
        """Turn places into pointers, now that the buffer stays where it is, and sort them."""
        cdef Entry entry
        cdef Py_ssize_t i
        with nogil:
            for i in range(self.count):
                self.marks[i].entry = self.data.data + <Py_ssize_t>self.marks[i].entry
                entry_at(self.marks[i].entry, &entry)
                self.marks[i].prefix = prefix_of(entry.key)
            qsort(self.marks, self.count, sizeof(Mark), compare_marks)
        return 0

    cdef int _spill(self) except -1:
        """Write what there is as a sorted run, and begin anew."""
        cdef ByteBuffer block
        cdef Entry entry
        cdef Py_ssize_t i, size
        self._sort()
        file = tempfile.TemporaryFile(dir=self.directory, buffering=0)
        self.runs.append(file)
        buffer_init(&block)
        try:
            for i in range(self.count):
                size = entry_at(self.marks[i].entry, &entry)
                buffer_append(&block, self.marks[i].entry, size)
                if block.size >= BLOCK:
                    write_all(file, &block)
            write_all(file, &block)
        finally:
            buffer_free(&block)
        file.seek(0)
        self.data.size = self.count = 0
        return 0


cdef int write_all(object file, ByteBuffer *block) except -1:
    data = memoryview(buffer_object(block))
    while data:
        data = data[file.write(data):]
    block.size = 0
    return 0


cdef class _Run:
    """A sorted run, read from its file; `entry` is valid until the next advance()."""

    cdef object file
    cdef ByteBuffer window
    cdef Py_ssize_t at
    cdef Entry entry

    def __cinit__(self, file):
        self.file = file
        buffer_init(&self.window)
        count_live(1)

    def __dealloc__(self):
        buffer_free(&self.window)
        count_live(-1)

    cdef bint advance(self) except -1:
        """Go on to the next entry; False: there is none."""
        cdef Head head
        if not self._have(sizeof(Head)):
            return False
        memcpy(&head, self.window.data + self.at, sizeof(Head))
        if not self._have(sizeof(Head) + head.key_size + head.value_size):
            raise OSError("a temporary file was cut off")
        self.at += entry_at(self.window.data + self.at, &self.entry)
        return True

    cdef bint _have(self, Py_ssize_t size) except -1:
        """Read until so many bytes are there."""
        cdef Py_ssize_t left = self.window.size - self.at
        if left >= size:
            return True
        memmove(self.window.data, self.window.data + self.at, left)
        self.window.size, self.at = left, 0
        while self.window.size < size:
            block = self.file.read(BLOCK)
            if not block:
                return False
            buffer_append(&self.window, <bytes_ptr>PyBytes_AS_STRING(block), PyBytes_GET_SIZE(block))
        return True


cdef class _Merge:
    """Runs merged: a heap of them, the one with the lowest entry on top."""

    cdef list heap
    cdef bint begun

    def __cinit__(self, list runs):
        self.heap = [run for run in runs if (<_Run>run).advance()]
        cdef Py_ssize_t i
        for i in range(len(self.heap) // 2 - 1, -1, -1):
            self._sift(i)

    cdef bint next(self, Entry *entry) except -1:
        if self.begun and self.heap:
            if not (<_Run>self.heap[0]).advance():
                last = self.heap.pop()
                if self.heap:
                    self.heap[0] = last
            self._sift(0)
        self.begun = True
        if not self.heap:
            return False
        entry[0] = (<_Run>self.heap[0]).entry
        return True

    cdef int _sift(self, Py_ssize_t at) except -1:
        """Let the run at `at` sink to where it belongs."""
        cdef Py_ssize_t size = len(self.heap)
        cdef Py_ssize_t child = 2 * at + 1
        while child < size:
            if child + 1 < size and self._below(child + 1, child):
                child += 1
            if not self._below(child, at):
                break
            self.heap[at], self.heap[child] = self.heap[child], self.heap[at]
            at, child = child, 2 * child + 1
        return 0

    cdef bint _below(self, Py_ssize_t a, Py_ssize_t b) noexcept:
        return compare(&(<_Run>self.heap[a]).entry, &(<_Run>self.heap[b]).entry) < 0


cdef class _Unique:
    """What Sorter.unique() returns: an iterator of (key, value)."""

    cdef Sorter sorter
    cdef _Merge merge  # or None: all is in memory
    cdef bint replace
    cdef object duplicate
    cdef Py_ssize_t at
    cdef bytes key
    cdef bytes value

    def __cinit__(self, Sorter sorter, _Merge merge, bint replace, duplicate):
        self.sorter, self.merge, self.replace, self.duplicate = sorter, merge, replace, duplicate
        self._hold_next()

    def __iter__(self):
        return self

    def __next__(self):
        if self.key is None:
            raise StopIteration
        key, value = self.key, self.value
        value = self._hold_next(key, value)
        return key, value

    cdef bytes _hold_next(self, bytes key=None, bytes value=None):
        """Hold the first entry of the next key; the value that `key`'s entries leave."""
        cdef Entry entry
        while self._take(&entry):
            if key is None or not is_key(entry.key, key):
                self.key, self.value = slice_object(entry.key), slice_object(entry.value)
                return value
            if self.replace:
                value = slice_object(entry.value)
            elif self.duplicate is not None:
                self.duplicate(entry.line, key)
        self.key = None
        return value

    cdef bint _take(self, Entry *entry) except -1:
        if self.merge is not None:
            return self.merge.next(entry)
        if self.at == self.sorter.count:
            return False
        entry_at(self.sorter.marks[self.at].entry, entry)
        self.at += 1
        return True


cdef inline bint is_key(Slice slice, bytes key) noexcept:
    return slice.size == PyBytes_GET_SIZE(key) and memcmp(slice.data, PyBytes_AS_STRING(key), slice.size) == 0
