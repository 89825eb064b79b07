"""Leaves of the SMTP command language: verbs, words, parameters, numbers, UTF-8 and xtext.

`_core` calls them for every command; they keep nothing, allocate nothing and raise nothing.
RFC 5321 4.1.2, RFC 3461 4 (xtext), RFC 3629 (UTF-8).
"""

from libc.stdint cimport uint64_t

from fastrelay._bytes cimport Slice, bytes_ptr, equals_nocase, is_digit, slice_bytes, slice_object, slice_of

from fastrelay.wire.commands import COMMANDS, Verb

DEF LONGEST_VERB = 8

cdef int VERB_COUNT = 0
cdef char VERB_NAMES[24][LONGEST_VERB + 1]
cdef int VERB_SIZES[24]
cdef int VERB_NUMBERS[24]
cdef bint ENDS_GROUP[24]
cdef bint IS_JUNK[24]


cdef void _copy_verbs():
    """The verb table into C, once: nothing below reads Python objects."""
    global VERB_COUNT
    cdef bytes name
    cdef int i
    for command in COMMANDS:
        assert command.verb < 24
        ENDS_GROUP[<int>command.verb], IS_JUNK[<int>command.verb] = command.last, command.junk
    for verb in Verb:
        if verb is Verb.UNKNOWN:
            continue
        name = verb.name.encode()
        assert len(name) <= LONGEST_VERB and VERB_COUNT < 24
        for i in range(<int>len(name)):
            VERB_NAMES[VERB_COUNT][i] = name[i]
        VERB_SIZES[VERB_COUNT] = len(name)
        VERB_NUMBERS[VERB_COUNT] = verb.value
        VERB_COUNT += 1


_copy_verbs()


cdef int verb_of(Slice word) noexcept nogil:
    """The verb's number, ASCII case aside; 0 (UNKNOWN) for any other word."""
    cdef int i, j
    for i in range(VERB_COUNT):
        if VERB_SIZES[i] != word.size:
            continue
        for j in range(<int>word.size):
            if (word.data[j] & 0xDF) != <unsigned char>VERB_NAMES[i][j]:
                break
        else:
            return VERB_NUMBERS[i]
    return 0


cdef bint ends_group(int verb) noexcept nogil:
    """Must it be the last of a pipelined group? (RFC 2920 3.1)"""
    return ENDS_GROUP[verb]


cdef bint is_junk(int verb) noexcept nogil:
    """Does it count against smtpd_junk_command_limit?"""
    return IS_JUNK[verb]


cdef Slice next_word(Slice *rest) noexcept nogil:
    """Take the next word off `rest`; words stand between spaces and tabs; an empty one means no more."""
    cdef Py_ssize_t start = 0, end
    while start < rest.size and (rest.data[start] == 32 or rest.data[start] == 9):
        start += 1
    end = start
    while end < rest.size and rest.data[end] != 32 and rest.data[end] != 9:
        end += 1
    cdef Slice word = slice_of(rest.data + start, end - start)
    rest.data += end
    rest.size -= end
    return word


cdef bint skip_keyword(Slice *rest, const char *keyword, Py_ssize_t size) noexcept nogil:
    """Take `FROM:` or `TO:` off, ASCII case and blanks before it aside."""
    while rest.size and (rest.data[0] == 32 or rest.data[0] == 9):
        rest.data += 1
        rest.size -= 1
    if rest.size < size or not equals_nocase(slice_of(rest.data, size), keyword, size):
        return False
    rest.data += size
    rest.size -= size
    return True


cdef bint split_parameter(Slice parameter, Slice *keyword, Slice *value) noexcept nogil:
    """`KEYWORD` or `KEYWORD=value` (RFC 5321 4.1.2 esmtp-param). False without a "="; value is then empty."""
    cdef Py_ssize_t i
    for i in range(parameter.size):
        if parameter.data[i] == 61:
            keyword[0] = slice_of(parameter.data, i)
            value[0] = slice_of(parameter.data + i + 1, parameter.size - i - 1)
            return True
    keyword[0] = parameter
    value[0] = slice_of(parameter.data + parameter.size, 0)
    return False


cdef Number parse_number(Slice text, uint64_t *value) noexcept nogil:
    """ASCII digits only: no sign, space, underscore, exponent or other script's digits."""
    cdef uint64_t n = 0
    cdef Py_ssize_t i
    if text.size == 0:
        return NUMBER_BAD
    for i in range(text.size):
        if not is_digit(text.data[i]):
            return NUMBER_BAD
    for i in range(text.size):
        if n > (<uint64_t>0x7FFFFFFFFFFFFFFF - 9) // 10:
            return NUMBER_TOO_BIG
        n = n * 10 + (text.data[i] - 48)
    value[0] = n
    return NUMBER_OK


cdef bint valid_utf8(Slice text) noexcept nogil:
    """RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF."""
    cdef Py_ssize_t i = 0, k, more
    cdef unsigned char c, second, low, high
    while i < text.size:
        c = text.data[i]
        i += 1
        if c < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            if c == 0xE0:
                low = 0xA0
            elif c == 0xED:
                high = 0x9F
        elif 0xF0 <= c <= 0xF4:
            more = 3
            if c == 0xF0:
                low = 0x90
            elif c == 0xF4:
                high = 0x8F
        else:
            return False
        if i + more > text.size:
            return False
        second = text.data[i]
        if second < low or second > high:
            return False
        for k in range(1, more):
            if (text.data[i + k] & 0xC0) != 0x80:
                return False
        i += more
    return True


cdef inline int _hex(unsigned char c) noexcept nogil:
    """A hexadecimal digit; -1 for anything else. RFC 3461 4 wants upper case, who writes lower case is understood."""
    if 48 <= c <= 57:
        return c - 48
    if 65 <= c <= 70:
        return c - 55
    if 97 <= c <= 102:
        return c - 87
    return -1


cdef bint valid_xtext(Slice text) noexcept nogil:
    """xtext whose decoded form is printable: a "+0A" never becomes a line break later (CVE-2020-28026)."""
    cdef Py_ssize_t i = 0
    cdef int high, low, decoded
    if text.size == 0:
        return False
    while i < text.size:
        if text.data[i] == 43:  # "+"
            if i + 2 >= text.size:
                return False
            high, low = _hex(text.data[i + 1]), _hex(text.data[i + 2])
            if high < 0 or low < 0:
                return False
            decoded = high * 16 + low
            if decoded < 32 or decoded == 127:
                return False
            i += 3
            continue
        if text.data[i] < 33 or text.data[i] > 126 or text.data[i] == 61:
            return False
        i += 1
    return True


cdef bint has_control(Slice text) noexcept nogil:
    """A control character other than a tab."""
    cdef Py_ssize_t i
    for i in range(text.size):
        if (text.data[i] < 32 and text.data[i] != 9) or text.data[i] == 127:
            return True
    return False


def find_verb(bytes word not None):
    """`verb_of`, for tests."""
    return verb_of(slice_bytes(word))


def read_number(bytes text not None):
    """`parse_number`, for tests: an int, or None when it is bad or too big."""
    cdef uint64_t value = 0
    return value if parse_number(slice_bytes(text), &value) == NUMBER_OK else None


def is_utf8(bytes text not None):
    """`valid_utf8`, for tests."""
    return valid_utf8(slice_bytes(text))


def is_xtext(bytes text not None):
    """`valid_xtext`, for tests."""
    return valid_xtext(slice_bytes(text))


def words(bytes line not None):
    """All words of a line, by `next_word`, for tests."""
    cdef Slice rest = slice_bytes(line)
    cdef Slice word = next_word(&rest)
    found = []
    while word.size:
        found.append(slice_object(word))
        word = next_word(&rest)
    return found
