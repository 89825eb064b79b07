"""Tokens of RFC 822 addresses: leaves of _address_header."""

from fastrelay._bytes cimport ByteBuffer, bytes_ptr

cdef enum Kind:  # of a token that is no operator
    ATOM = 256
    QUOTED
    LITERAL
    COMMENT
    START_GROUP

cdef struct Token:
    int kind  # an operator's byte, or Kind
    bint close  # no space comes after it
    Py_ssize_t start  # of its text in TokenList.text
    Py_ssize_t size

cdef struct TokenList:
    Token *items
    Py_ssize_t count
    Py_ssize_t capacity
    ByteBuffer text

cdef int tokens_add(TokenList *tokens, int kind) except -1
cdef int scan(TokenList *tokens, bytes_ptr data, Py_ssize_t size, Py_ssize_t limit) except -1
cdef bint is_spaced(int kind, int following) noexcept nogil
cdef bint needs_space(Token *token, Token *following) noexcept nogil
cdef int write_token(ByteBuffer *to, TokenList *tokens, Token *token, bint quoted) except -1
cdef int write_quoted_local(ByteBuffer *to, bytes_ptr text, Py_ssize_t size) except -1
