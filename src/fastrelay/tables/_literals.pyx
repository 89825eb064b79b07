"""Which of thousands of texts are in a key: one pass over the key, whatever the number of texts.

prefilter.py asks it for every lookup in a regexp: or pcre: table of many rules. A text is entered under its
rarest window of four bytes (three or two when it is shorter) in a hash table; each window of the key is
looked up, and the whole text compared where one is found. Texts are in lower case, keys are folded (ASCII).
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from fastrelay._bytes cimport FASTRELAY_DEBUG, bytes_ptr, lower

cdef enum:
    SMALLEST = 2
    WIDEST = 4
    ON_STACK = 512

SHORTEST = SMALLEST

cdef struct Entry:
    uint32_t window
    uint32_t next  # 1 + the number of the next entry in the same bucket, 0: none
    uint32_t offset  # of the window in the text
    uint32_t size
    size_t text  # where it begins in the pool
    int32_t position  # what is found

cdef int _live = 0


def live_objects() -> int:
    return _live


cdef inline uint32_t window_at(bytes_ptr p, int width) noexcept nogil:
    cdef uint32_t window = p[0] | <uint32_t>p[1] << 8
    if width > 2:
        window |= <uint32_t>p[2] << 16
    if width > 3:
        window |= <uint32_t>p[3] << 24
    return window


cdef inline uint32_t bucket_of(uint32_t window, uint32_t mask) noexcept nogil:
    return (window * <uint32_t>2654435761) >> 7 & mask


cdef class LiteralIndex:
    """Made of pairs of a text and the number to answer when it is in a key; numbers are below 2**31."""

    cdef Entry *entries
    cdef uint32_t *heads[5]  # one hash table for each width of window
    cdef unsigned char *pool
    cdef uint64_t *seen  # for each number: the search that found it last
    cdef uint64_t searches
    cdef uint32_t mask

    def __cinit__(self, pairs):
        cdef Py_ssize_t count = len(pairs)
        cdef Py_ssize_t size = sum([len(text) for text, _ in pairs])
        cdef Py_ssize_t highest = max([position for _, position in pairs], default=0)
        cdef int width
        self.mask = 255
        while self.mask < 2 * count:
            self.mask = self.mask * 2 + 1
        self.entries = <Entry *>calloc(count + 1, sizeof(Entry))
        self.pool = <unsigned char *>malloc(size + 1)
        self.seen = <uint64_t *>calloc(highest + 1, sizeof(uint64_t))
        if self.entries == NULL or self.pool == NULL or self.seen == NULL:
            raise MemoryError
        for width in {min(len(text), WIDEST) for text, _ in pairs}:
            if width < SMALLEST:
                raise ValueError("a text is too short")
            self.heads[width] = <uint32_t *>calloc(<size_t>self.mask + 1, sizeof(uint32_t))
            if self.heads[width] == NULL:
                raise MemoryError
        self._fill(pairs)
        if FASTRELAY_DEBUG:
            global _live
            _live += 1

    def __dealloc__(self):
        cdef int width
        free(self.entries)
        free(self.pool)
        free(self.seen)
        for width in range(5):
            free(self.heads[width])
        if FASTRELAY_DEBUG and self.mask != 0:
            global _live
            _live -= 1

    def find(self, bytes key not None):
        """The numbers of the texts that are in the key, each once, in order."""
        cdef unsigned char stack[ON_STACK]
        cdef unsigned char *folded = stack
        cdef bytes_ptr data = key
        cdef Py_ssize_t size = len(key)
        cdef Py_ssize_t i
        cdef list found = []
        cdef int width
        if size > ON_STACK:
            folded = <unsigned char *>malloc(size)
            if folded == NULL:
                raise MemoryError
        try:
            for i in range(size):
                folded[i] = lower(data[i])
            self.searches += 1
            for width in range(SMALLEST, WIDEST + 1):
                if self.heads[width] != NULL:
                    self._search(folded, size, width, found)
        finally:
            if folded != stack:
                free(folded)
        if len(found) > 1:
            found.sort()
        return found

    cdef int _search(self, bytes_ptr key, Py_ssize_t size, int width, list found) except -1:
        cdef Py_ssize_t at
        cdef uint32_t window, number
        cdef uint32_t *heads = self.heads[width]
        cdef Entry *entry
        for at in range(size - width + 1):
            window = window_at(key + at, width)
            number = heads[bucket_of(window, self.mask)]
            while number != 0:
                entry = &self.entries[number - 1]
                number = entry.next
                if (
                    entry.window == window
                    and at >= <Py_ssize_t>entry.offset
                    and at - <Py_ssize_t>entry.offset + <Py_ssize_t>entry.size <= size
                    and self.seen[entry.position] != self.searches
                    and memcmp(key + at - entry.offset, self.pool + entry.text, entry.size) == 0
                ):
                    self.seen[entry.position] = self.searches
                    found.append(entry.position)
        return 0

    cdef int _fill(self, pairs) except -1:
        cdef size_t end = 0
        cdef uint32_t number = 0
        cdef uint32_t bucket
        cdef Entry *entry
        cdef int width
        counts = {}
        for text, position in pairs:
            entry = &self.entries[number]
            number += 1
            width = min(len(text), WIDEST)
            memcpy(self.pool + end, <bytes_ptr><bytes>text, len(text))
            entry.text, entry.size, entry.position = end, len(text), position
            end += len(text)
            windows = [text[i : i + width] for i in range(len(text) - width + 1)]
            rarest = min(windows, key=lambda each: counts.get(each, 0))
            for each in windows:
                counts[each] = counts.get(each, 0) + 1
            entry.offset = windows.index(rarest)
            entry.window = window_at(self.pool + entry.text + entry.offset, width)
            bucket = bucket_of(entry.window, self.mask)
            entry.next = self.heads[width][bucket]
            self.heads[width][bucket] = number
        return 0
