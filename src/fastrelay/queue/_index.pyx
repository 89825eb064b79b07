"""The queued messages by number: a hash table of pointers, where a dict would keep an int object for each as well.

spool.py keeps its entries here: about 25 bytes a message instead of 100. It has a mapping's methods; values()
and iteration are in the order of the numbers, which is that of arrival, and see the table as it was when
they began. Keys are numbers of 64 bits. Linear probing; a removal moves back what stands behind it.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort

from fastrelay._bytes cimport FASTRELAY_DEBUG

from collections.abc import ItemsView, KeysView, Mapping

cdef extern from *:
    """
    #include <stdint.h>
    /* The home of a key in a table of any size: a multiplicative hash, then scaled. */
    static inline uint64_t home_of(uint64_t key, uint64_t size) {
        return (uint64_t)(((unsigned __int128)(key * 0x9E3779B97F4A7C15ull) * size) >> 64);
    }
    """
    uint64_t home_of(uint64_t key, uint64_t size) noexcept nogil

cdef enum:
    _SMALLEST = 64

cdef int _live = 0


def live_objects() -> int:
    """Tables that are alive; counted in debug builds only."""
    return _live


cdef int by_key(const void *a, const void *b) noexcept nogil:
    cdef uint64_t first = (<const Slot *>a).key, second = (<const Slot *>b).key
    return (first > second) - (first < second)


cdef class Index:
    """See the module's text. Grows by half when four fifths are used, shrinks when a quarter is."""

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        self.allocate(_SMALLEST)

    def __dealloc__(self):
        global _live
        cdef uint64_t at
        if FASTRELAY_DEBUG:
            _live -= 1
        if self.slots != NULL:
            for at in range(self.size):
                Py_XDECREF(self.slots[at].value)
            free(self.slots)

    def __len__(self):
        return self.used

    def __contains__(self, uint64_t key):
        return self.slots[self.find(key)].value != NULL

    def __getitem__(self, key):
        cdef PyObject *value = self.slots[self.find(key)].value
        if value == NULL:
            raise KeyError(key)
        return <object>value

    def __setitem__(self, key, value not None):
        self.put(key, value)

    cpdef put(self, uint64_t key, value):
        """As an assignment; `value` is not None."""
        cdef Slot *slot = &self.slots[self.find(key)]
        cdef PyObject *old = slot.value
        Py_INCREF(value)
        slot.key, slot.value = key, <PyObject *>value
        if old != NULL:
            Py_XDECREF(old)
            return
        self.used += 1
        if self.used * 5 > self.size * 4:
            self.resize(self.size + self.size // 2)

    def __iter__(self):
        cdef uint64_t at, count = self.used
        cdef Slot *copy = self.sorted_copy()
        try:
            return iter([copy[at].key for at in range(count)])
        finally:
            free(copy)

    def get(self, uint64_t key, default=None):
        cdef PyObject *value = self.slots[self.find(key)].value
        return <object>value if value != NULL else default

    cpdef pop(self, uint64_t key, default=None):
        """The value, which is taken out, or `default`."""
        cdef uint64_t at = self.find(key)
        cdef PyObject *found = self.slots[at].value
        if found == NULL:
            return default
        value = <object>found
        self.close_up(at)
        Py_XDECREF(found)
        self.used -= 1
        if self.size > _SMALLEST and self.used * 4 < self.size:
            self.resize(max(<uint64_t>_SMALLEST, self.size // 2))
        return value

    def update(self, other) -> None:
        """With a mapping, or another of these."""
        for key, value in other.items():
            self[key] = value

    def keys(self):
        return KeysView(self)

    def values(self):
        cdef uint64_t at, count = self.used
        cdef Slot *copy = self.sorted_copy()
        try:
            return [<object>copy[at].value for at in range(count)]
        finally:
            free(copy)

    def items(self):
        return ItemsView(self)

    cdef int allocate(self, uint64_t size) except -1:
        cdef Slot *slots = <Slot *>calloc(size, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        self.slots, self.size = slots, size
        return 0

    cdef uint64_t find(self, uint64_t key) noexcept:
        """Where the key is, or the free slot where it would be."""
        cdef uint64_t at = home_of(key, self.size)
        while self.slots[at].value != NULL and self.slots[at].key != key:
            at += 1
            if at == self.size:
                at = 0
        return at

    cdef int resize(self, uint64_t size) except -1:
        cdef Slot *old = self.slots
        cdef uint64_t at, count = self.size
        self.allocate(size)
        for at in range(count):
            if old[at].value != NULL:
                self.slots[self.find(old[at].key)] = old[at]
        free(old)
        return 0

    cdef void close_up(self, uint64_t hole) noexcept:
        """Free the slot, and fill it from behind where a search would else end too early."""
        cdef uint64_t at = hole, home
        self.slots[hole].value = NULL
        while True:
            at += 1
            if at == self.size:
                at = 0
            if self.slots[at].value == NULL:
                return
            home = home_of(self.slots[at].key, self.size)
            # may it move to the hole: is the hole, cyclically, between its home and where it is?
            if (hole - home if hole >= home else hole + self.size - home) <= (
                at - home if at >= home else at + self.size - home
            ):
                self.slots[hole] = self.slots[at]
                self.slots[at].value = NULL
                hole = at

    cdef Slot *sorted_copy(self) except NULL:
        """The slots in use, for the caller to free."""
        cdef Slot *copy = <Slot *>malloc((self.used + 1) * sizeof(Slot))
        cdef uint64_t at, count = 0
        if copy == NULL:
            raise MemoryError
        for at in range(self.size):
            if self.slots[at].value != NULL:
                copy[count] = self.slots[at]
                count += 1
        qsort(copy, count, sizeof(Slot), by_key)
        return copy


Mapping.register(Index)
