"""Look keys up in an LMDB 0.9 file: hash:, btree: and lmdb: tables (tables/lmdb_table.py) ask it per recipient.

Every lookup asks fstat(2) for the change time, which a rename over the file, an unlink, a truncation and a
write all move, so that the next lookup sees them; four times a second the path is looked at as well. Every
offset is checked against what is mapped: no file makes it crash or answer "not found" wrongly.
No lock is needed. Our files never change once renamed into place. Debian's postmap changes its own in
place: LMDB leaves the pages of the last two committed transactions alone while it writes the next
(mdb_find_oldest), so an answer counts when at most one transaction ended meanwhile, and is sought
again otherwise. Keys and values end in a NUL or not, as postmap -N or -n made them; the one is next to the
other in the file's order, so that one descent finds both.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strerror
from posix.fcntl cimport O_CLOEXEC, O_NONBLOCK, O_RDONLY, open
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, mmap, munmap
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport close

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, Slice, buffer_append, buffer_byte, buffer_free, buffer_init, buffer_object,
    bytes_ptr, lower, slice_of,
)

from fastrelay.tables.table import TableError, check_value

cdef extern from "<sys/stat.h>" nogil:
    int stat(const char *, struct_stat *)

cdef extern from "<endian.h>" nogil:
    uint64_t be64toh(uint64_t)

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *, size_t)

cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    clockid_t CLOCK_MONOTONIC_COARSE
    int clock_gettime(clockid_t, timespec *)

cdef enum Found:
    FOUND
    MISSING
    CORRUPT

cdef enum:
    MAGIC = 0xBEEFC0DE
    VERSION_0_9 = 1
    PAGE_HEADER = 16
    META_SIZE = 136
    BRANCH_PAGE = 0x01
    LEAF_PAGE = 0x02
    OVERFLOW_PAGE = 0x04
    KIND_BITS = 0x6F  # all page kinds: branch, leaf, overflow, meta, leaf2, sub-page
    BIG_DATA = 0x01
    MAX_KEY = 511
    MAX_DEPTH = 32
    MAX_TRIES = 100
    LOOK_INTERVAL = 250_000_000  # nanoseconds between looks at the path

cdef uint64_t NO_PAGE = ~<uint64_t>0

cdef struct Meta:
    uint64_t transaction
    uint64_t root
    uint32_t page_size
    uint16_t flags

cdef int _live = 0


def live_objects() -> int:
    return _live


cdef inline uint16_t u16(bytes_ptr p) noexcept nogil:
    cdef uint16_t v
    memcpy(&v, p, 2)
    return v


cdef inline uint32_t u32(bytes_ptr p) noexcept nogil:
    cdef uint32_t v
    memcpy(&v, p, 4)
    return v


cdef inline uint64_t u64(bytes_ptr p) noexcept nogil:
    cdef uint64_t v
    memcpy(&v, p, 8)
    return v


cdef bint read_meta(Slice file, uint32_t page_size, int which, Meta *meta) noexcept nogil:
    """The meta page `which`; False when it is none."""
    cdef bytes_ptr p = file.data + <size_t>page_size * which + PAGE_HEADER
    if u32(p) != MAGIC or u32(p + 4) != VERSION_0_9:
        return False
    meta.page_size = u32(p + 24)
    meta.flags = u16(p + 76)
    meta.root = u64(p + 112)
    meta.transaction = u64(p + 128)
    return True


cdef bint newest_meta(Slice file, uint32_t page_size, Meta *meta) noexcept nogil:
    """The meta page of the last commit; False when this is no LMDB 0.9 file that can be read."""
    cdef Meta other
    if not read_meta(file, page_size, 0, meta) or not read_meta(file, page_size, 1, &other):
        return False
    if other.transaction > meta.transaction:
        meta[0] = other
    return meta.page_size == page_size and meta.flags == 0


cdef bytes_ptr page_at(Slice file, Meta *meta, uint64_t number) noexcept nogil:
    """The page, or NULL when it is not within the file or says that it is another one."""
    cdef bytes_ptr page
    if number >= <uint64_t>file.size // meta.page_size:
        return NULL
    page = file.data + number * meta.page_size
    return page if u64(page) == number else NULL


cdef inline int compare(Slice key, bytes_ptr other, size_t size) noexcept nogil:
    """As memcmp; most keys differ within eight bytes, which are compared as one number."""
    cdef size_t common = size if size < <size_t>key.size else <size_t>key.size
    cdef uint64_t ours, theirs
    cdef int order
    if common >= 8:
        ours, theirs = be64toh(u64(key.data)), be64toh(u64(other))
        if ours != theirs:
            return 1 if ours > theirs else -1
    order = memcmp(key.data, other, common)
    if order != 0:
        return order
    return (<size_t>key.size > size) - (<size_t>key.size < size)


cdef bytes_ptr search_page(bytes_ptr page, uint32_t page_size, Slice key, bint branch, int *order) noexcept nogil:
    """The last node whose key is not above `key` (on a branch the first one counts as lowest), NULL: corrupt.

    `order` says how `key` compares with the node: 0 equal, above 0 greater, -1 below all nodes.
    """
    cdef Py_ssize_t limit = u16(page + 12)
    cdef Py_ssize_t count = (limit - PAGE_HEADER) // 2
    cdef Py_ssize_t low = 1 if branch else 0
    cdef Py_ssize_t high = count
    cdef Py_ssize_t middle
    cdef bytes_ptr node
    cdef bytes_ptr best = page
    cdef int result
    if limit < PAGE_HEADER or <uint32_t>limit > page_size or count < 1:
        return NULL
    order[0] = -1
    if branch:
        order[0] = 1
        best = page + u16(page + PAGE_HEADER)
    while low < high:
        middle = (low + high) // 2
        node = page + u16(page + PAGE_HEADER + 2 * middle)
        if node < page + limit or node + 8 > page + page_size or node + 8 + u16(node + 6) > page + page_size:
            return NULL
        result = compare(key, node + 8, u16(node + 6))
        if result < 0:
            high = middle
            continue
        best, order[0] = node, result
        if result == 0:
            break
        low = middle + 1
    if best != page and (best < page + limit or best + 8 > page + page_size):
        return NULL
    return best


cdef Found node_value(Slice file, Meta *meta, bytes_ptr page, bytes_ptr node, Slice *value) noexcept nogil:
    cdef size_t size = u16(node) | <size_t>u16(node + 2) << 16
    cdef bytes_ptr data = node + 8 + u16(node + 6)
    cdef bytes_ptr big
    cdef uint16_t flags = u16(node + 4)
    if flags == 0:
        if data + size > page + meta.page_size:
            return CORRUPT
        value[0] = slice_of(data, size)
        return FOUND
    if flags != BIG_DATA or data + 8 > page + meta.page_size:
        return CORRUPT
    big = page_at(file, meta, u64(data))
    if big == NULL or u16(big + 10) & KIND_BITS != OVERFLOW_PAGE:
        return CORRUPT
    if size > <size_t>(file.data + file.size - big - PAGE_HEADER):
        return CORRUPT
    value[0] = slice_of(big + PAGE_HEADER, size)
    return FOUND


cdef Found find(Slice file, Meta *meta, Slice key, Slice *value) noexcept nogil:
    """The value of `key`, which ends in a NUL, or else of the key without it."""
    cdef Slice plain = slice_of(key.data, key.size - 1)
    cdef int order = 0
    cdef Found found = find_last(file, meta, key, plain, value, &order)
    if found == MISSING and order < 0:  # the plain key may be the last one on the page before
        found = find_last(file, meta, plain, plain, value, &order)
    return found


cdef Found find_last(
    Slice file, Meta *meta, Slice key, Slice plain, Slice *value, int *order
) noexcept nogil:
    """Go down to the page that `key` belongs to: is the last node there that is not above it `key` or `plain`?

    `order` is below 0 when all nodes there are above it, and there are pages before.
    """
    cdef uint64_t number = meta.root
    cdef bint leftmost = True
    cdef bytes_ptr page
    cdef bytes_ptr node
    cdef int depth, kind
    if number == NO_PAGE:
        return MISSING
    for depth in range(MAX_DEPTH):
        page = page_at(file, meta, number)
        if page == NULL:
            return CORRUPT
        kind = u16(page + 10) & KIND_BITS
        if kind != BRANCH_PAGE and kind != LEAF_PAGE:
            return CORRUPT
        node = search_page(page, meta.page_size, key, kind == BRANCH_PAGE, order)
        if node == NULL:
            return CORRUPT
        if kind == LEAF_PAGE:
            if order[0] == 0 or order[0] > 0 and compare(plain, node + 8, u16(node + 6)) == 0:
                return node_value(file, meta, page, node, value)
            if leftmost:
                order[0] = 0
            return MISSING
        leftmost = leftmost and node == page + u16(page + PAGE_HEADER)
        number = u16(node) | <uint64_t>u16(node + 2) << 16 | <uint64_t>u16(node + 4) << 32
    return CORRUPT


cdef inline int64_t coarse_time() noexcept nogil:
    """Nanoseconds of the monotonic clock as of its last tick; costs no system call."""
    cdef timespec clock
    clock_gettime(CLOCK_MONOTONIC_COARSE, &clock)
    return clock.tv_sec * 1_000_000_000 + clock.tv_nsec


cdef inline bint is_ascii(bytes text) noexcept:
    cdef bytes_ptr data = <bytes_ptr>PyBytes_AS_STRING(text)
    cdef unsigned char seen = 0
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(text)):
        seen |= data[i]
    return seen < 0x80


cdef inline int append(ByteBuffer *out, bytes text) except -1:
    return buffer_append(out, <bytes_ptr>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef class LmdbFile:
    """One file, mapped. `fold`: keys to lower case; `utf8`: keys and values must be that.

    `fold_other(key)` prepares keys that are not ASCII: None, no table has them.
    """

    cdef str label
    cdef bytes path
    cdef bint fold
    cdef bint utf8
    cdef object fold_other
    cdef Slice file
    cdef uint32_t page_size
    cdef int fd
    cdef struct_stat status
    cdef int64_t next_look  # when the path is to be looked at again
    cdef int64_t looked  # when the file was last looked at
    cdef long generation  # how often the file was opened

    def __cinit__(self, str label, bytes path, bint fold, bint utf8, fold_other):
        self.label, self.path, self.fold, self.utf8, self.fold_other = label, path, fold, utf8, fold_other
        self.file = slice_of(NULL, 0)
        self.fd = -1
        if FASTRELAY_DEBUG:
            global _live
            _live += 1

    def __dealloc__(self):
        self._unmap()
        if FASTRELAY_DEBUG:
            global _live
            _live -= 1

    def get(self, bytes key not None):
        """The value of `key`, None when it is not there; TableError when that cannot be told."""
        cdef unsigned char text[MAX_KEY + 1]
        cdef Py_ssize_t size
        self._refresh()
        size = self._prepare(key, text)
        if size <= 0:
            return None
        value = self._get(text, size)
        if value is not None and self.utf8 and not is_ascii(<bytes>value):
            return check_value(self.label, key, value)
        return value

    def answers(self, bytes text not None, bytes between not None) -> bytes:
        """For postmap -q -: of each line of `text` that is a key, the line, `between`, its value and a newline.

        `text` is ASCII without NULs; ValueError when a value is empty, which has to be complained about.
        """
        cdef unsigned char prepared[MAX_KEY + 1]
        cdef bytes_ptr data = <bytes_ptr>PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef Py_ssize_t at = 0, end, length
        cdef bytes_ptr newline
        cdef ByteBuffer out
        buffer_init(&out)
        try:
            self._refresh()
            while at < size:
                newline = <bytes_ptr>memchr(data + at, c'\n', size - at)
                end = size if newline == NULL else newline - data
                key = text[at:end]
                length = self._prepare(key, prepared)
                value = self._get(prepared, length) if length > 0 else None
                if value is not None:
                    if not value:
                        raise ValueError("empty value")
                    if self.utf8 and not is_ascii(<bytes>value):
                        check_value(self.label, key, value)
                    append(&out, key)
                    append(&out, between)
                    append(&out, value)
                    buffer_byte(&out, c'\n')
                at = end + 1
            return buffer_object(&out)
        finally:
            buffer_free(&out)

    def version(self) -> int:
        """How often the file was opened: one that was replaced or appeared counts when it is seen.

        It is looked at once in a tick of the coarse clock (1 to 10 ms), and by every lookup.
        """
        if self.fd < 0 or coarse_time() != self.looked:
            try:
                self._refresh()
            except TableError:
                return -1 - self.generation
        return self.generation

    def refresh(self) -> None:
        """Open the file unless it is open and unchanged; TableError when that cannot be."""
        self._refresh()

    cdef Py_ssize_t _prepare(self, bytes key, unsigned char *text) except -2:
        """Put the folded key and a NUL into `text`; its size, -1 when no table has such a key."""
        cdef bytes_ptr data = <bytes_ptr>PyBytes_AS_STRING(key)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(key)
        cdef Py_ssize_t i
        cdef unsigned char seen = 0
        if size > MAX_KEY or memchr(data, 0, size) != NULL:
            return -1
        for i in range(size):
            seen |= data[i]
            text[i] = lower(data[i])
        if not self.fold:
            memcpy(text, data, size)
        if seen & 0x80:
            folded = self.fold_other(key)
            size = -1 if folded is None else PyBytes_GET_SIZE(<bytes?>folded)
            if size < 0 or size > MAX_KEY:
                return -1
            memcpy(text, PyBytes_AS_STRING(folded), size)
        text[size] = 0
        return size

    cdef object _get(self, unsigned char *text, Py_ssize_t size):
        cdef Slice value
        cdef Found found = MISSING
        cdef Meta meta, after
        cdef int tries
        for tries in range(MAX_TRIES):
            if not newest_meta(self.file, self.page_size, &meta):
                raise self._corrupt()
            found = find(self.file, &meta, slice_of(text, size + 1), &value)
            result = None
            if found == FOUND:
                result = (<const char *>value.data)[: strnlen(<const char *>value.data, value.size)]
            if not newest_meta(self.file, self.page_size, &after):
                raise self._corrupt()
            if after.transaction == meta.transaction and after.root != meta.root:
                continue  # the first look fell into the middle of a commit
            if after.transaction - meta.transaction > 1:
                continue
            if found == CORRUPT:
                self._reopen_or_raise()
                continue
            return result
        raise TableError(self.label, f"database {self._name()} changes too fast to be read")

    cdef int _reopen_or_raise(self) except -1:
        """The file makes no sense: it grew after it was looked at, or it is corrupt."""
        cdef long before = self.generation
        self.next_look = 0
        self._refresh()
        if self.generation == before:
            raise self._corrupt()
        return 0

    cdef int _refresh(self) except -1:
        """Reopen the file when it is not what is mapped."""
        cdef struct_stat now
        cdef int64_t time = coarse_time()
        if self.fd >= 0 and time < self.next_look and fstat(self.fd, &now) == 0 and self._is_mapped(&now):
            self.looked = time
            return 0
        self.looked = -1
        if stat(self.path, &now) != 0:
            raise self._cannot_open()
        if self.fd < 0 or not self._is_mapped(&now):
            self._unmap()
            self._map()
        self.looked, self.next_look = time, time + LOOK_INTERVAL
        return 0

    cdef bint _is_mapped(self, struct_stat *now) noexcept:
        """Is this the status of the file that is mapped, and has nothing happened to it?"""
        return (
            now.st_ctim.tv_nsec == self.status.st_ctim.tv_nsec
            and now.st_ctim.tv_sec == self.status.st_ctim.tv_sec
            and now.st_size == self.status.st_size
            and now.st_ino == self.status.st_ino
            and now.st_dev == self.status.st_dev
            and now.st_nlink > 0
        )

    cdef int _map(self) except -1:
        cdef Meta meta
        cdef void *data
        self.fd = open(self.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        try:
            if self.fd < 0 or fstat(self.fd, &self.status) != 0:
                raise self._cannot_open()
            if self.status.st_size < PAGE_HEADER + META_SIZE:
                raise self._corrupt()
            data = mmap(NULL, self.status.st_size, PROT_READ, MAP_SHARED, self.fd, 0)
            if data == MAP_FAILED:
                raise self._cannot_open()
            self.file = slice_of(<bytes_ptr>data, self.status.st_size)
            self.generation += 1
            self.page_size = self._page_size()
            if self.page_size == 0 or not newest_meta(self.file, self.page_size, &meta):
                raise self._corrupt()
        except TableError:
            self._unmap()
            raise
        return 0

    cdef void _unmap(self) noexcept:
        if self.file.data != NULL:
            munmap(<void *>self.file.data, self.file.size)
        if self.fd >= 0:
            close(self.fd)
        self.file = slice_of(NULL, 0)
        self.fd = -1

    cdef uint32_t _page_size(self) noexcept:
        """The page size that the first meta page gives, 0 when two such pages are not in the file."""
        cdef uint32_t size = u32(self.file.data + PAGE_HEADER + 24)
        if size < 512 or size > 65536 or 2 * <Py_ssize_t>size > self.file.size:
            return 0
        return size

    def _name(self):
        return self.path.decode("utf-8", "backslashreplace")

    def _cannot_open(self):
        text = (<bytes>strerror(errno)).decode("utf-8", "replace")
        return TableError(self.label, f"open database {self._name()}: {text}")

    def _corrupt(self):
        return TableError(self.label, f"database {self._name()} is truncated or not an LMDB 0.9 file")
