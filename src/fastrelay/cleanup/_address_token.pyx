"""The tokens of RFC 822 addresses (3.3): read from a header, written as they are meant or as they must be quoted.

_address_header.pyx alone calls it. Nothing of what is read gets lost: what is no address is a token too. Bytes
above 127 are atoms. Memory belongs to the TokenList of the caller.
"""

from libc.stdlib cimport realloc
from libc.string cimport memchr

from fastrelay._bytes cimport ByteBuffer, buffer_append, buffer_byte, bytes_ptr

cdef bint OPERATOR[256]

for _c in bytearray(b'()<>,;:\\"@[].|%!'):
    OPERATOR[<int>_c] = True



cdef inline bint is_blank(unsigned char c) noexcept nogil:
    return c == 32 or c == 9 or c == 10 or c == 13


cdef int tokens_add(TokenList *tokens, int kind) except -1:
    cdef Py_ssize_t capacity
    cdef Token *grown
    if tokens.count == tokens.capacity:
        capacity = tokens.capacity * 2 or 64
        grown = <Token *>realloc(tokens.items, capacity * sizeof(Token))
        if grown == NULL:
            raise MemoryError
        tokens.items, tokens.capacity = grown, capacity
    tokens.items[tokens.count].kind = kind
    tokens.items[tokens.count].close = False
    tokens.items[tokens.count].start = tokens.text.size
    tokens.items[tokens.count].size = 0
    tokens.count += 1
    return 0


cdef int scan(TokenList *tokens, bytes_ptr data, Py_ssize_t size, Py_ssize_t limit) except -1:
    """Append the tokens of `data`, at most `limit` of them (0: all)."""
    cdef Py_ssize_t at = 0, most = tokens.count + limit
    cdef unsigned char c
    while at < size and (limit == 0 or tokens.count < most):
        c = data[at]
        if is_blank(c):
            at += 1
        elif c == 40:
            tokens_add(tokens, COMMENT)
            at = scan_comment(tokens, data, size, at + 1)
        elif c == 91 or c == 34:  # [ "
            tokens_add(tokens, LITERAL if c == 91 else QUOTED)
            at = collect(tokens, data, size, at + 1, 93 if c == 91 else 34) + 1
        elif c != 92 and OPERATOR[c]:
            tokens_add(tokens, c)
            at += 1
        else:
            tokens_add(tokens, ATOM)
            at = collect(tokens, data, size, at, 0)
            quote_atom(tokens)
    return 0


cdef Py_ssize_t scan_comment(TokenList *tokens, bytes_ptr data, Py_ssize_t size, Py_ssize_t at) except -1:
    """A comment, kept as it is written, up to its own closing parenthesis or the end."""
    cdef Py_ssize_t start = at - 1
    cdef Py_ssize_t level = 1
    while at < size and level:
        if data[at] == 40:
            level += 1
        elif data[at] == 41:
            level -= 1
        elif data[at] == 92 and at + 1 < size:
            at += 1
        at += 1
    buffer_append(&tokens.text, data + start, at - start)
    tokens.items[tokens.count - 1].size = at - start
    return at


cdef Py_ssize_t collect(
    TokenList *tokens, bytes_ptr data, Py_ssize_t size, Py_ssize_t at, unsigned char stop
) except -1:
    """The text of the last token up to `stop`, or with 0 to an operator or blank; where that stands."""
    cdef Token *token = &tokens.items[tokens.count - 1]
    cdef unsigned char c
    while at < size:
        c = data[at]
        if c == 92:
            at += 1
            if at == size:
                break
            c = data[at]
        elif c == stop if stop else OPERATOR[c] or is_blank(c):
            break
        buffer_byte(&tokens.text, 32 if is_blank(c) else c)
        at += 1
    token.size = tokens.text.size - token.start
    return at


cdef void quote_atom(TokenList *tokens) noexcept:
    """An atom that has more in it than an atom may is a quoted string."""
    cdef Token *token = &tokens.items[tokens.count - 1]
    cdef bytes_ptr text = tokens.text.data + token.start
    cdef Py_ssize_t i
    for i in range(token.size):
        if text[i] <= 32 or text[i] == 127 or OPERATOR[text[i]]:
            token.kind = QUOTED
            return


cdef inline bint is_solid(int kind) noexcept nogil:
    return kind == ATOM or kind == QUOTED or kind == LITERAL or kind == COMMENT


cdef bint is_spaced(int kind, int following) noexcept nogil:
    """Does a space come between the two?"""
    if kind == 44 or kind == START_GROUP or following == 60:
        return True
    return is_solid(kind) and is_solid(following)


cdef bint needs_space(Token *token, Token *following) noexcept nogil:
    return not token.close and is_spaced(token.kind, following.kind)


cdef int append_quoted(ByteBuffer *to, bytes_ptr text, Py_ssize_t size, unsigned char first, unsigned char last,
                       unsigned char escaped) except -1:
    cdef Py_ssize_t i
    buffer_byte(to, first)
    for i in range(size):
        if text[i] == 92 or text[i] == escaped:
            buffer_byte(to, 92)
        buffer_byte(to, text[i])
    return buffer_byte(to, last)


cdef int write_token(ByteBuffer *to, TokenList *tokens, Token *token, bint quoted) except -1:
    """`quoted`: as it stands in a header; else as it is meant."""
    cdef bytes_ptr text = tokens.text.data + token.start
    if token.kind < 256:
        return buffer_byte(to, token.kind)
    if token.kind == START_GROUP:
        return buffer_byte(to, 58)
    if quoted and token.kind == QUOTED:
        return append_quoted(to, text, token.size, 34, 34, 34)
    if token.kind == LITERAL:
        if quoted:
            return append_quoted(to, text, token.size, 91, 93, 92)
        buffer_byte(to, 91)
        buffer_append(to, text, token.size)
        return buffer_byte(to, 93)
    return buffer_append(to, text, token.size)


cdef bint is_dot_string(bytes_ptr text, Py_ssize_t size) noexcept:
    """RFC 822's local-part without quotes; bytes above 127 are atoms."""
    cdef Py_ssize_t i
    if size == 0 or text[0] == 46 or text[size - 1] == 46:
        return False
    for i in range(size):
        if text[i] == 46:
            if text[i + 1] == 46:  # the last is no dot
                return False
        elif text[i] <= 32 or text[i] == 127 or (
                OPERATOR[text[i]] and text[i] != 124 and text[i] != 37 and text[i] != 33):
            return False
    return True


cdef int write_quoted_local(ByteBuffer *to, bytes_ptr text, Py_ssize_t size) except -1:
    """An address as it is meant, with what is before its last @ in quotes where it must be."""
    cdef Py_ssize_t route = 0, at
    cdef bytes_ptr colon
    if size and text[0] == 64:  # a source route stays as it is
        colon = <bytes_ptr>memchr(text, 58, size)
        if colon != NULL:
            route = colon - text + 1
    at = size - 1
    while at >= route and text[at] != 64:
        at -= 1
    if at < route:
        at = size
    if is_dot_string(text + route, at - route):
        return buffer_append(to, text, size)
    buffer_append(to, text, route)
    append_quoted(to, text + route, at - route, 34, 34, 34)
    return buffer_append(to, text + at, size - at)
