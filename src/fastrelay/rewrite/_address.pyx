"""Parse the path of MAIL FROM and RCPT TO into its canonical form (RFC 5321 4.1.2, RFC 6531 3.3).

_core calls scan_path on the bytes behind the colon and address_of when it says PATH_OK. The caller picks
the reply from the PathResult. Without PATH_STRICT the scanner takes what Postfix takes and what is not
ambiguous: no brackets, blanks after the colon, `a@b@c` (the local part is `a@b`), dots anywhere in the
local part. It never guesses: comments, stray brackets, backslashes outside quotes, separators, control
characters and bare network addresses are refused.

Invariant: `external` is canonical (quoted only where it must be, domain in lower ASCII case, no final
dot), so that equal mailboxes are equal bytes. Bytes above 127 are checked and kept, never mapped.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from fastrelay._bytes cimport FASTRELAY_DEBUG, Slice, bytes_ptr, is_alpha, is_digit, lower, slice_bytes, slice_of

cdef Py_ssize_t PATH_LIMIT = 256  # RFC 5321 4.5.3.1.3, with the brackets
cdef Py_ssize_t DOMAIN_LIMIT = 255  # RFC 5321 4.5.3.1.2
cdef Py_ssize_t LABEL_LIMIT = 63  # RFC 1035 2.3.4
cdef int _live = 0


def live_objects():
    """How many Address objects there are (counted in a debug build)."""
    return _live


cdef class Address:
    """A mailbox: dequoted local part, domain, and the canonical external form of both."""

    def __cinit__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __init__(self, bytes local not None, bytes domain not None=b""):
        self.local = local
        self.domain = domain
        self.external = _externalize(local, domain)

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1

    @property
    def is_null(self):
        return not self.local and not self.domain

    @property
    def internal(self):
        """The unquoted form, which lookup keys are made of."""
        return self.local + b"@" + self.domain if self.domain else self.local

    def __eq__(self, other):
        return isinstance(other, Address) and (<Address>other).external == self.external

    def __hash__(self):
        return hash(self.external)

    def __repr__(self):
        return f"Address({self.external!r})"


def parse_path(bytes text not None, *, bint strict=False, bint smtputf8=False, bint allow_null=False,
               bint allow_hyphen=False):
    """The Address that the whole of `text` is, or the PathResult that says what is wrong with it."""
    result, used = split_path(text, strict=strict, smtputf8=smtputf8, allow_null=allow_null, allow_hyphen=allow_hyphen)
    if isinstance(result, Address) and text[used:].strip(b" "):
        return PathResult.PATH_BAD_SYNTAX
    return result


def split_path(bytes text not None, *, bint strict=False, bint smtputf8=False, bint allow_null=False,
               bint allow_hyphen=False):
    """(Address or PathResult, bytes used); ESMTP parameters may follow what was used."""
    cdef Path path
    cdef unsigned int flags = (strict * PATH_STRICT | smtputf8 * PATH_UTF8 | allow_null * PATH_ALLOW_NULL
                               | allow_hyphen * PATH_ALLOW_HYPHEN)
    cdef PathResult result = scan_path(slice_bytes(text), flags, &path)
    if result != PATH_OK:
        return PathResult(result), path.used
    return address_of(&path), path.used


def from_external(bytes external not None):
    """The Address of a canonical external form that parse_path or a Rewriter made."""
    cdef Slice s = slice_bytes(external)
    cdef Py_ssize_t at = _last_at(s)
    local = external if at < 0 else external[:at]
    if local[:1] == b'"':
        local = _dequote(local)
    return make_address(local, b"" if at < 0 else external[at + 1:])


cdef Address address_of(const Path *path):
    return make_address((<const char *>path.local)[:path.local_size], (<const char *>path.domain)[:path.domain_size])


cdef Address make_address(bytes local, bytes domain):
    cdef Address address = Address.__new__(Address)
    address.local = local
    address.domain = domain
    address.external = _externalize(local, domain)
    return address


cdef bytes _externalize(bytes local, bytes domain):
    if not _is_dot_string(slice_bytes(local)):
        if not local and not domain:
            return b""
        local = b'"' + local.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return joined(local, domain) if domain else local


cdef bytes joined(bytes local, bytes domain):
    """local@domain."""
    cdef Slice head = slice_bytes(local), tail = slice_bytes(domain)
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, head.size + 1 + tail.size)
    cdef char *out = PyBytes_AS_STRING(whole)
    memcpy(out, head.data, head.size)
    out[head.size] = 64
    memcpy(out + head.size + 1, tail.data, tail.size)
    return whole


cdef bytes _dequote(bytes quoted):
    """`quoted` is one canonical quoted string: of escapes it has only those of `_externalize`."""
    return quoted[1:len(quoted) - 1].replace(b'\\"', b'"').replace(b"\\\\", b"\\")


cdef inline bint _is_atext(unsigned char c) noexcept nogil:
    """RFC 5321 atext with RFC 6531's UTF-8: everything printable but the specials."""
    if c <= 32 or c == 127:
        return False
    return c not in (40, 41, 44, 46, 58, 59, 60, 62, 64, 91, 92, 93, 34)  # ( ) , . : ; < > @ [ \ ] "


cdef bint _is_dot_string(Slice s) noexcept nogil:
    cdef Py_ssize_t i
    cdef bint after_dot = True
    for i in range(s.size):
        if s.data[i] == 46:
            if after_dot:
                return False
            after_dot = True
        elif not _is_atext(s.data[i]):
            return False
        else:
            after_dot = False
    return not after_dot


cdef Py_ssize_t _last_at(Slice s) noexcept nogil:
    """Where the last @ outside quotes is, or -1; -2 when a quote is not closed."""
    cdef Py_ssize_t i = 0, at = -1
    cdef bint quoted = False
    while i < s.size:
        if s.data[i] == 92:
            i += 1  # a backslash outside quotes is refused by _scan_local
        elif s.data[i] == 34:
            quoted = not quoted
        elif s.data[i] == 64 and not quoted:
            at = i
        i += 1
    return -2 if quoted else at


cdef PathResult scan_path(Slice text, unsigned int flags, Path *path) noexcept nogil:
    """What stands behind "MAIL FROM:" or "RCPT TO:". `path` is valid only after PATH_OK (`used` always)."""
    cdef Slice inner
    cdef PathResult result
    path.used = path.local_size = path.domain_size = 0
    result = _find_path(text, flags, path, &inner)
    if result != PATH_OK:
        return result
    result = _check_characters(inner)
    if result != PATH_OK:
        return result
    if inner.size == 0:
        return PATH_OK if flags & PATH_ALLOW_NULL else PATH_NULL_REFUSED
    if inner.size + 2 > PATH_LIMIT:
        return PATH_TOO_LONG
    if inner.data[0] == 64:
        result = _skip_source_route(&inner)
        if result != PATH_OK:
            return result
    return _scan_mailbox(inner, flags, path)


cdef PathResult _find_path(Slice text, unsigned int flags, Path *path, Slice *inner) noexcept nogil:
    """Where the path begins and ends: `<`...`>`, or up to a blank when there are no brackets."""
    cdef Py_ssize_t start = 0, i
    cdef bint quoted = False, bracketed
    cdef unsigned char c
    while start < text.size and text.data[start] == 32:
        start += 1
    if start == text.size:
        return PATH_MISSING
    bracketed = text.data[start] == 60
    if not bracketed and flags & PATH_STRICT:
        return PATH_BAD_SYNTAX
    start += bracketed
    i = start
    while i < text.size:
        c = text.data[i]
        if c == 92:
            i += 1
        elif c == 34:
            quoted = not quoted
        elif not quoted and (c == 62 or c == 60 or (c == 32 and not bracketed)):
            break
        i += 1
    if i > text.size or quoted:
        return PATH_BAD_SYNTAX
    inner[0] = slice_of(text.data + start, i - start)
    if i < text.size and text.data[i] == 60:
        return PATH_BAD_SYNTAX
    if bracketed != (i < text.size and text.data[i] == 62):
        return PATH_BAD_SYNTAX
    path.used = i + bracketed
    if path.used < text.size and text.data[path.used] != 32:
        return PATH_BAD_SYNTAX  # `<a@b>garbage`
    return PATH_OK


cdef PathResult _check_characters(Slice s) noexcept nogil:
    """No control characters; bytes above 127 must be UTF-8, and not such that they change how a line reads."""
    cdef Py_ssize_t i = 0
    cdef int width
    cdef unsigned int code = 0
    cdef bint unsafe = False
    while i < s.size:
        if s.data[i] < 128:
            unsafe = unsafe or s.data[i] < 32 or s.data[i] == 127
            i += 1
            continue
        width = _decode(s.data + i, s.size - i, &code)
        if width == 0:
            return PATH_BAD_UTF8
        unsafe = unsafe or _is_unsafe(code)
        i += width
    return PATH_BAD_SYNTAX if unsafe else PATH_OK


cdef inline bint _is_unsafe(unsigned int code) noexcept nogil:
    """C1 controls, line and paragraph separators, bidirectional controls."""
    return (code < 0xA0 or code == 0x061C or code == 0x200E or code == 0x200F
            or 0x2028 <= code <= 0x202E or 0x2066 <= code <= 0x2069)


cdef int _decode(bytes_ptr p, Py_ssize_t left, unsigned int *code) noexcept nogil:
    """One code point above 127: its width in bytes, or 0 when it is not UTF-8 (RFC 3629)."""
    cdef int width, i
    cdef unsigned int value, least
    if 0xC2 <= p[0] <= 0xDF:
        width, value, least = 2, p[0] & 0x1F, 0x80
    elif 0xE0 <= p[0] <= 0xEF:
        width, value, least = 3, p[0] & 0x0F, 0x800
    elif 0xF0 <= p[0] <= 0xF4:
        width, value, least = 4, p[0] & 0x07, 0x10000
    else:
        return 0
    if width > left:
        return 0
    for i in range(1, width):
        if p[i] & 0xC0 != 0x80:
            return 0
        value = value << 6 | (p[i] & 0x3F)
    if value < least or value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        return 0
    code[0] = value
    return width


cdef PathResult _skip_source_route(Slice *s) noexcept nogil:
    """`@a,@b:u@c` reads as `u@c` (RFC 5321 4.1.1.3: servers strip or ignore the route)."""
    cdef Py_ssize_t i
    cdef unsigned char c, previous = 44
    cdef bint literal = False
    for i in range(s.size):
        c = s.data[i]
        if literal:
            if c == 93:
                literal = False
            elif not (is_alpha(c) or is_digit(c) or c == 46 or c == 58):
                return PATH_BAD_SYNTAX
        elif c == 91:
            if previous != 64:
                return PATH_BAD_SYNTAX
            literal = True
        elif (c == 64) != (previous == 44) or (previous == 93 and c != 44 and c != 58):
            return PATH_BAD_SYNTAX  # every hop is `@domain`
        elif c == 58 or c == 44:
            if previous == 64:
                return PATH_BAD_SYNTAX
            if c == 58:
                s[0] = slice_of(s.data + i + 1, s.size - i - 1)
                return PATH_OK
        elif c != 64 and not _is_host_byte(c):
            return PATH_BAD_SYNTAX
        previous = c
    return PATH_BAD_SYNTAX


cdef inline bint _is_host_byte(unsigned char c) noexcept nogil:
    return is_alpha(c) or is_digit(c) or c == 45 or c == 46 or c == 95 or c >= 128


cdef PathResult _scan_mailbox(Slice s, unsigned int flags, Path *path) noexcept nogil:
    cdef Py_ssize_t at = _last_at(s)
    cdef Py_ssize_t i
    cdef Slice local = slice_of(s.data, s.size if at < 0 else at)
    cdef PathResult result = _scan_local(local, flags, path)
    if result != PATH_OK:
        return result
    if path.local_size == 0 or (path.local[0] == 45 and not flags & PATH_ALLOW_HYPHEN):
        return PATH_BAD_LOCAL  # a leading `-` reads as an option to commands
    for i in range(path.local_size):
        if path.local[i] >= 128:
            if not flags & PATH_UTF8:
                return PATH_UTF8_LOCAL
            if at < 0:
                return PATH_BAD_LOCAL  # a bare name is completed with our own domain, so it must be plain
    if at < 0:
        return PATH_OK
    return _scan_domain(slice_of(s.data + at + 1, s.size - at - 1), flags, path)


cdef PathResult _scan_local(Slice s, unsigned int flags, Path *path) noexcept nogil:
    """Copy the local part without its quotes. Words are separated by dots; each may be quoted."""
    cdef Py_ssize_t i = 0, out = 0
    cdef unsigned char c
    cdef bint word = False, quoted_any = False
    while i < s.size:
        c = s.data[i]
        if c == 34:
            if word:
                return PATH_BAD_LOCAL
            i = _copy_quoted(s, i, path.local, &out)
            if i < 0 or (i < s.size and s.data[i] != 46):
                return PATH_BAD_LOCAL
            quoted_any = word = True
            continue
        if c == 46 or (c == 64 and not flags & PATH_STRICT):
            if flags & PATH_STRICT and not word:
                return PATH_BAD_LOCAL
            word = False
        elif not _is_atext(c):
            return PATH_BAD_LOCAL
        else:
            word = True
        path.local[out] = c
        out += 1
        i += 1
    path.local_size = out
    if flags & PATH_STRICT and (not word or (quoted_any and (s.data[0] != 34 or _closing_quote(s) != s.size - 1))):
        return PATH_BAD_LOCAL  # RFC 5321: a Dot-string or one Quoted-string
    return PATH_OK


cdef Py_ssize_t _closing_quote(Slice s) noexcept nogil:
    """Where the quoted string that s begins with ends; -1 when it does not."""
    cdef Py_ssize_t i = 1
    while i < s.size:
        if s.data[i] == 92:
            i += 1
        elif s.data[i] == 34:
            return i
        i += 1
    return -1


cdef Py_ssize_t _copy_quoted(Slice s, Py_ssize_t start, unsigned char *local, Py_ssize_t *out) noexcept nogil:
    """Copy the quoted string at `start` without quotes and escapes; returns where it ends, -1 when it does not."""
    cdef Py_ssize_t end = _closing_quote(slice_of(s.data + start, s.size - start))
    cdef Py_ssize_t i = start + 1
    if end < 0:
        return -1
    end += start
    while i < end:
        if s.data[i] == 92:
            i += 1
        local[out[0]] = s.data[i]
        out[0] += 1
        i += 1
    return end + 1


cdef PathResult _scan_domain(Slice s, unsigned int flags, Path *path) noexcept nogil:
    cdef Py_ssize_t i
    if s.size > 1 and s.data[s.size - 1] == 46 and s.data[s.size - 2] != 46:
        s.size -= 1
    if s.size == 0 or s.size > DOMAIN_LIMIT:
        return PATH_BAD_DOMAIN
    for i in range(s.size):
        if s.data[i] >= 128 and not flags & PATH_UTF8:
            return PATH_UTF8_DOMAIN
        path.domain[i] = lower(s.data[i])
    path.domain_size = s.size
    if s.data[0] == 91:
        return _scan_literal(path)
    return PATH_OK if _is_host_name(slice_of(path.domain, s.size)) else PATH_BAD_DOMAIN


cdef bint _is_host_name(Slice s) noexcept nogil:
    """As Postfix's valid_hostname: letters, digits, `_`, inner hyphens, UTF-8; never all digits and dots."""
    cdef Py_ssize_t i, size = 0
    cdef unsigned char c, previous = 46
    cdef bint numeric = True, ascii_label = True
    for i in range(s.size):
        c = s.data[i]
        if c == 46:
            if previous == 46 or previous == 45 or (ascii_label and size > LABEL_LIMIT):
                return False
            size, ascii_label = 0, True
        else:
            if not _is_host_byte(c) or (c == 45 and previous == 46):
                return False
            size += 1
            ascii_label = ascii_label and c < 128
            numeric = numeric and is_digit(c)
        previous = c
    return not (numeric or previous == 46 or previous == 45 or (ascii_label and size > LABEL_LIMIT))


cdef PathResult _scan_literal(Path *path) noexcept nogil:
    """RFC 5321 4.1.3: `[1.2.3.4]` or `[IPv6:...]`; path.domain is in lower case, the tag is restored."""
    cdef Slice s = slice_of(path.domain + 1, path.domain_size - 2)
    if path.domain_size < 3 or path.domain[path.domain_size - 1] != 93:
        return PATH_BAD_DOMAIN
    if s.size > 5 and s.data[0] == 105 and s.data[1] == 112 and s.data[2] == 118 and s.data[3] == 54 and s.data[4] == 58:
        memcpy(path.domain + 1, b"IPv6:", 5)
        return PATH_OK if _is_ipv6(slice_of(s.data + 5, s.size - 5)) else PATH_BAD_DOMAIN
    return PATH_OK if _is_ipv4(s) else PATH_BAD_DOMAIN


cdef bint _is_ipv4(Slice s) noexcept nogil:
    """Four decimal numbers of at most 255, without leading zeros (they read as octal elsewhere)."""
    cdef Py_ssize_t i
    cdef int value = -1, dots = 0
    for i in range(s.size):
        if s.data[i] == 46:
            if value < 0 or dots == 3:
                return False
            dots += 1
            value = -1
        elif not is_digit(s.data[i]) or value == 0:
            return False
        else:
            value = (0 if value < 0 else value * 10) + s.data[i] - 48
            if value > 255:
                return False
    return dots == 3 and value >= 0


cdef inline bint _is_hex(unsigned char c) noexcept nogil:
    return is_digit(c) or 97 <= c <= 102


cdef bint _is_ipv6(Slice s) noexcept nogil:
    """RFC 4291 2.2: groups of up to four hex digits, one `::`, an IPv4 address as the last two groups."""
    cdef Py_ssize_t i = 0, start
    cdef int groups = 0
    cdef bint compressed = False
    if s.size >= 2 and s.data[0] == 58 and s.data[1] == 58:
        compressed = True
        i = 2
    while i < s.size:
        start = i
        while i < s.size and _is_hex(s.data[i]):
            i += 1
        if i < s.size and s.data[i] == 46:
            groups += 2
            if not _is_ipv4(slice_of(s.data + start, s.size - start)):
                return False
            break
        if i == start or i - start > 4:
            return False
        groups += 1
        if i == s.size:
            break
        i += 1  # the colon, checked here:
        if s.data[i - 1] != 58 or i == s.size:
            return False
        if s.data[i] == 58:
            if compressed:
                return False
            compressed = True
            i += 1
    return groups <= 6 if compressed else groups == 8  # RFC 5321 4.1.3: `::` stands for two groups or more
