"""The ESMTP parameters of MAIL and RCPT: each at most once, each with its own syntax (RFC 5321 4.1.2).

`_core` calls with what stands behind the path, and gets a refusal or None; what was found goes into a
struct that borrows from the line. SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID,
NOTIFY, ORCPT (RFC 3461), AUTH (RFC 4954 5: taken and not used).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memchr

from fastrelay._bytes cimport Slice, bytes_ptr, equals_nocase, slice_bytes, slice_object, slice_of
from fastrelay.wire._smtp cimport NUMBER_BAD, NUMBER_OK, Number, next_word, parse_number, split_parameter, valid_xtext

from itertools import permutations

from fastrelay.borders import Flag, Notify
from fastrelay.wire import replies

cdef enum:  # the parameters of MAIL, one bit each
    SIZE = 1
    BODY = 2
    UTF8 = 4
    RET = 8
    ENVID = 16
    AUTH = 32

cdef int SMTPUTF8 = Flag.SMTPUTF8, BODY_8BITMIME = Flag.BODY_8BITMIME, BODY_7BIT = Flag.BODY_7BIT
cdef int RET_FULL = Flag.RET_FULL, RET_HDRS = Flag.RET_HDRS
cdef Py_ssize_t ENVID_LIMIT = 100  # RFC 3461 4.4
cdef Py_ssize_t ORCPT_LIMIT = 500  # RFC 3461 4.2

cdef dict BAD = {
    SIZE: replies.R501_SIZE,
    BODY: replies.R501_BODY,
    UTF8: replies.R501_MAIL_SYNTAX,
    RET: replies.R501_RET,
    ENVID: replies.R501_ENVID,
    AUTH: replies.R501_MAIL_AUTH,
}


def notify_values() -> dict[bytes, int]:
    """Every legal value of NOTIFY: NEVER alone, or the others in any order, each once (RFC 3461 4.1)."""
    values = {b"NEVER": int(Notify.NEVER)}
    for length in (1, 2, 3):
        for chosen in permutations((Notify.SUCCESS, Notify.FAILURE, Notify.DELAY), length):
            values[b",".join([notify.name.encode() for notify in chosen])] = sum([int(n) for n in chosen])
    return values


cdef dict NOTIFY = notify_values()


cdef bytes parse_mail_parameters(Slice rest, uint64_t size_limit, bint utf8, bint dsn, MailParameters *found):
    """`utf8` and `dsn`: are these extensions announced?"""
    cdef Slice keyword, value, word
    cdef bint has_value
    cdef int seen = 0, bit
    cdef bytes refusal
    found.size, found.flags, found.envid = 0, 0, slice_of(rest.data, 0)
    if rest.size and rest.data[0] != 32 and rest.data[0] != 9:
        return replies.R501_SENDER_ADDRESS
    word = next_word(&rest)
    while word.size:
        has_value = split_parameter(word, &keyword, &value)
        bit = mail_keyword(keyword, utf8, dsn)
        if bit == 0 or has_value == (bit == UTF8):
            return replies.r555_unsupported(printable(slice_object(word)))
        if seen & bit:
            return BAD[bit]
        seen |= bit
        refusal = mail_parameter(bit, word, value, size_limit, found)
        if refusal is not None:
            return refusal
        word = next_word(&rest)
    return None


cdef bytes mail_parameter(int bit, Slice word, Slice value, uint64_t size_limit, MailParameters *found):
    cdef Number number
    if bit == SIZE:
        number = parse_number(value, &found.size)
        if number == NUMBER_BAD:
            return replies.R501_SIZE
        if number != NUMBER_OK or (size_limit and found.size > size_limit):
            return replies.R552_SIZE_LIMIT
    elif bit == BODY:
        if equals_nocase(value, b"8bitmime", 8):
            found.flags |= BODY_8BITMIME
        elif equals_nocase(value, b"7bit", 4):
            found.flags |= BODY_7BIT
        else:
            return replies.r555_unsupported(printable(slice_object(word)))
    elif bit == UTF8:
        found.flags |= SMTPUTF8
    elif bit == RET:
        if equals_nocase(value, b"full", 4):
            found.flags |= RET_FULL
        elif equals_nocase(value, b"hdrs", 4):
            found.flags |= RET_HDRS
        else:
            return replies.R501_RET
    elif bit == ENVID:
        if value.size > ENVID_LIMIT or not valid_xtext(value):
            return replies.R501_ENVID
        found.envid = value
    elif not (valid_xtext(value) or (value.size == 2 and value.data[0] == 60 and value.data[1] == 62)):
        return replies.R501_MAIL_AUTH
    return None


cdef bytes parse_rcpt_parameters(Slice rest, bint dsn, RcptParameters *found):
    cdef Slice keyword, value, word
    cdef bint has_value
    found.notify, found.orcpt = 0, slice_of(rest.data, 0)
    if rest.size and rest.data[0] != 32 and rest.data[0] != 9:
        return replies.R501_RECIPIENT_ADDRESS
    word = next_word(&rest)
    while word.size:
        has_value = split_parameter(word, &keyword, &value)
        if dsn and has_value and equals_nocase(keyword, b"notify", 6):
            notify = NOTIFY.get(slice_object(value).upper())
            if notify is None or found.notify:
                return replies.R501_NOTIFY
            found.notify = notify
        elif dsn and has_value and equals_nocase(keyword, b"orcpt", 5):
            if found.orcpt.size or not valid_orcpt(value):
                return replies.R501_ORCPT
            found.orcpt = value
        else:
            return replies.r555_unsupported(printable(slice_object(word)))
        word = next_word(&rest)
    return None


cdef int mail_keyword(Slice keyword, bint utf8, bint dsn) noexcept nogil:
    """The bit of an announced parameter, or 0."""
    if equals_nocase(keyword, b"size", 4):
        return SIZE
    if equals_nocase(keyword, b"body", 4):
        return BODY
    if utf8 and equals_nocase(keyword, b"smtputf8", 8):
        return UTF8
    if dsn and equals_nocase(keyword, b"ret", 3):
        return RET
    if dsn and equals_nocase(keyword, b"envid", 5):
        return ENVID
    if equals_nocase(keyword, b"auth", 4):
        return AUTH
    return 0


cdef bint valid_orcpt(Slice value) noexcept nogil:
    """`addr-type ";" xtext`; the xtext may be empty."""
    cdef bytes_ptr semicolon = <bytes_ptr>memchr(value.data, 59, value.size) if value.size else NULL
    cdef Py_ssize_t kind
    if semicolon == NULL or value.size > ORCPT_LIMIT:
        return False
    kind = semicolon - value.data
    return kind > 0 and valid_xtext(slice_of(value.data, kind)) and (
        kind + 1 == value.size or valid_xtext(slice_of(semicolon + 1, value.size - kind - 1)))


cdef bytes xtext_object(Slice text):
    """An xtext as it is stored and sent on: hexadecimal digits in upper case, as RFC 3461 4 has them."""
    cdef bytes given = slice_object(text)
    cdef Py_ssize_t i, left = 0
    cdef bytes upper
    cdef char *out
    if not text.size or memchr(text.data, 43, text.size) == NULL:
        return given
    upper = PyBytes_FromStringAndSize(NULL, text.size)
    out = PyBytes_AS_STRING(upper)
    for i in range(text.size):
        out[i] = text.data[i] - 32 if left and text.data[i] >= 97 else text.data[i]
        left = 2 if text.data[i] == 43 else left - 1 if left else 0
    return upper


cdef bytes printable(bytes text):
    """Safe in a reply, a header and a log line: anything but printable ASCII becomes `?`."""
    cdef Slice given = slice_bytes(text)
    cdef Py_ssize_t i
    cdef bytes shown
    cdef char *out
    for i in range(given.size):
        if not 32 <= given.data[i] < 127:
            break
    else:
        return text
    shown = PyBytes_FromStringAndSize(NULL, given.size)  # NULL: an object of its own, of one byte too
    out = PyBytes_AS_STRING(shown)
    for i in range(given.size):
        out[i] = given.data[i] if 32 <= given.data[i] < 127 else 63
    return shown


def mail_parameters(bytes text not None, uint64_t size_limit=10240000, bint utf8=True, bint dsn=True):
    """For tests: a refusal, or (size, flags, envid)."""
    cdef MailParameters found
    refusal = parse_mail_parameters(slice_bytes(text), size_limit, utf8, dsn, &found)
    return refusal if refusal is not None else (found.size, found.flags, xtext_object(found.envid))


def rcpt_parameters(bytes text not None, bint dsn=True):
    """For tests: a refusal, or (notify, orcpt)."""
    cdef RcptParameters found
    refusal = parse_rcpt_parameters(slice_bytes(text), dsn, &found)
    return refusal if refusal is not None else (found.notify, xtext_object(found.orcpt))
