"""What a line of a header looks like: inline, for the scanners of contents and of MIME and the header's clean-up.

There is no _header_line.pyx. A line is given without its CRLF and with its dot unstuffed.
"""

from libc.string cimport memcmp

from fastrelay._bytes cimport Slice, bytes_ptr


cdef inline bint is_blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9


cdef inline Slice trimmed(Slice text) noexcept nogil:
    """Without the blanks around it."""
    while text.size and is_blank(text.data[0]):
        text.data += 1
        text.size -= 1
    while text.size and is_blank(text.data[text.size - 1]):
        text.size -= 1
    return text


cdef inline Py_ssize_t header_name_size(bytes_ptr line, Py_ssize_t size) noexcept nogil:
    """Length of the header's name if the line starts a header, else 0: Postfix's is_header()."""
    cdef Py_ssize_t i = 0, name
    while i < size and 33 <= line[i] <= 126 and line[i] != 58:
        i += 1
    name = i
    while i < size and is_blank(line[i]):
        i += 1
    return name if i < size and line[i] == 58 else 0


cdef inline bint is_mailbox_line(bytes_ptr line, Py_ssize_t size) noexcept nogil:
    """`From ` or `>From ` before the first header, as Unix mailboxes have it."""
    while size and line[0] == 62:
        line += 1
        size -= 1
    return size >= 5 and memcmp(line, <const char *>b"From ", 5) == 0
