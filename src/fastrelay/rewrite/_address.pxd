"""The SMTP path scanner's C side: scan_path fills a Path, address_of makes the Python object of it."""

from fastrelay._bytes cimport Slice

cpdef enum PathResult:
    PATH_OK = 0
    PATH_MISSING = 1  # nothing stands there: 501 5.5.4
    PATH_BAD_SYNTAX = 2  # 501 5.1.7 (sender) or 5.1.3 (recipient), as are the next five
    PATH_NULL_REFUSED = 3
    PATH_TOO_LONG = 4
    PATH_BAD_LOCAL = 5
    PATH_BAD_DOMAIN = 6
    PATH_UTF8_DOMAIN = 7  # 8-bit domain without SMTPUTF8
    PATH_UTF8_LOCAL = 8  # 8-bit local part without SMTPUTF8: 553 5.6.7 (RFC 6531 3.5)
    PATH_BAD_UTF8 = 9  # 500 5.5.2 Error: bad UTF-8 syntax

cpdef enum PathFlag:
    PATH_STRICT = 1  # strict_rfc821_envelopes
    PATH_UTF8 = 2  # SMTPUTF8 was given at MAIL
    PATH_ALLOW_NULL = 4  # MAIL FROM:<>
    PATH_ALLOW_HYPHEN = 8  # allow_min_user

cdef struct Path:
    Py_ssize_t used  # bytes of the text up to the end of the path; parameters may follow after a space
    Py_ssize_t local_size
    Py_ssize_t domain_size
    unsigned char local[256]  # dequoted
    unsigned char domain[256]  # lower case, no trailing dot

cdef class Address:
    cdef readonly bytes local
    cdef readonly bytes domain
    cdef readonly bytes external

cdef PathResult scan_path(Slice text, unsigned int flags, Path *path) noexcept nogil
cdef Address address_of(const Path *path)
cdef Address make_address(bytes local, bytes domain)
