"""Rewriting of the addresses in one header; HeaderCleaner asks it for every header that has addresses."""

from fastrelay._bytes cimport ByteBuffer, bytes_ptr
from fastrelay.cleanup._address_token cimport TokenList

cdef struct IndexList:
    Py_ssize_t *items
    Py_ssize_t count
    Py_ssize_t capacity

cdef struct Found:  # an address of the header, and what it became
    Py_ssize_t first  # its tokens in `order`, from here down to `last`
    Py_ssize_t last
    Py_ssize_t start  # of its text in `results`
    Py_ssize_t size

cdef class AddressHeaders:
    cdef bytes origin
    cdef bytes domain
    cdef bint swap_bangpath
    cdef bint percent_hack
    cdef bint complete
    cdef Py_ssize_t token_limit
    cdef readonly object sender_map
    cdef readonly object recipient_map
    cdef TokenList header  # what the header says
    cdef TokenList address  # one address, scanned again
    cdef IndexList order  # the parsed header from right to left: tokens, and marks around addresses
    cdef IndexList current  # tokens of the address that is being collected
    cdef IndexList sequence  # tokens of the address that is being rewritten
    cdef ByteBuffer value
    cdef ByteBuffer source
    cdef ByteBuffer result
    cdef ByteBuffer results
    cdef ByteBuffer lines  # an address as it is meant
    cdef ByteBuffer rendered
    cdef Found *found
    cdef Py_ssize_t found_count
    cdef Py_ssize_t found_capacity

    cdef int rewrite(
        self, bytes_ptr name, Py_ssize_t name_size, bytes_ptr value, Py_ssize_t size, bint is_sender, ByteBuffer *out,
    ) except -1
    cdef void release(self) noexcept
    cdef int parse(self) except -1
    cdef Py_ssize_t parse_angle(self, Py_ssize_t at) except -2
    cdef Py_ssize_t pass_group(self, Py_ssize_t at) except -2
    cdef int close_address(self, bint comma) except -1
    cdef int note_address(self, Py_ssize_t first, Py_ssize_t last) except -1
    cdef int rewrite_address(self, Found *one, object mapper) except -1
    cdef int complete_address(self) except -1
    cdef int order_sequence(self) except -1
    cdef int add_domain(self) except -1
    cdef int append_name(self, bytes name) except -1
    cdef Py_ssize_t find(self, int kind, Py_ssize_t start) noexcept
    cdef Py_ssize_t find_last(self, int kind) noexcept
    cdef int write_meaning(self) except -1
    cdef int requote(self, Found *one) except -1
    cdef int kind_at(self, Py_ssize_t at) noexcept
    cdef int render(self) except -1
    cdef int strip(self, bint has_address, Py_ssize_t start, Py_ssize_t size, Found *one) except -1
