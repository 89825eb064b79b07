"""The cleaner of what leaves as the header."""

from fastrelay._bytes cimport ByteBuffer, bytes_ptr
from fastrelay.cleanup._address_header cimport AddressHeaders
from fastrelay.cleanup._contents cimport ContentScanner

cdef struct HeaderName:
    const unsigned char *name  # lower case; borrowed from HeaderCleaner.names
    Py_ssize_t size
    int rule
    bint dropped

cdef class HeaderCleaner:
    cdef readonly int hops  # Received headers, ours included
    cdef readonly list message_ids  # (is it Resent-, value) of each that there is, for the log
    cdef list names
    cdef HeaderName table[64]
    cdef int first_of_length[66]  # table is sorted by length
    cdef Py_ssize_t header_size_limit
    cdef bytes undisclosed
    cdef bytes host
    cdef ByteBuffer out
    cdef int plain  # rules seen on plain headers
    cdef int resent  # rules seen on Resent- headers
    cdef bint is_resent
    cdef AddressHeaders addresses  # None: this client's addresses stay as they are
    cdef object inspector  # checks.Inspection; None: no header is checked

    cdef bytes clean(
        self, ContentScanner content, bytes received, AddressHeaders addresses, object inspector, bint add_missing,
        bytes sender, bytes queue_id, bytes date, bytes stamp,
    )
    cdef int copy_headers(self, bytes_ptr at, bytes_ptr end, bint leading) except -1
    cdef int inspect(self, bytes_ptr start, bytes_ptr end, Py_ssize_t name_size) except -1
    cdef int copy_header(self, bytes_ptr start, bytes_ptr end, Py_ssize_t name_size) except -1
    cdef int note(self, int rule, bytes_ptr value, bytes_ptr end) except -1
    cdef int note_id(self, bint resent, bytes value) except -1
    cdef int add_headers(self, bytes sender, bytes queue_id, bytes date, bytes stamp) except -1
    cdef int add(self, bytes text) except -1
    cdef bint rewrite(
        self, bytes_ptr name, Py_ssize_t name_size, HeaderName *known, bytes_ptr value, bytes_ptr end,
    ) except -1
    cdef HeaderName *find(self, bytes_ptr name, Py_ssize_t size) noexcept
