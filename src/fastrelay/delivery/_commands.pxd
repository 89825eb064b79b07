"""MAIL and RCPT commands with their ESMTP parameters, in Postfix's order: inline, for _transaction.pyx.

RFC 1870 SIZE, 6152 BODY, 3461 ENVID RET ORCPT NOTIFY, 6531 SMTPUTF8. What the envelope holds was checked
when it was received; a control character in it here is a bug, and would be a second command.
"""

from fastrelay._bytes cimport ByteBuffer, buffer_append, buffer_byte, bytes_ptr
from fastrelay.borders cimport Delivery, Envelope, Recipient

cdef enum:
    # Flag of borders.py
    EIGHT_BIT_BODY = 1
    EIGHT_BIT_HEADER = 2
    LONG_LINES = 4
    SMTPUTF8 = 8
    BODY_8BITMIME = 16
    BODY_7BIT = 32
    RET_FULL = 64
    RET_HDRS = 128


cdef inline int mail_command(
    ByteBuffer *out, Envelope envelope, bint sized, bint eight_bit_mime, bint dsn, bint smtputf8
) except -1:
    """With what the server offers of SIZE, 8BITMIME, DSN and SMTPUTF8."""
    cdef int flags = envelope.flags
    append_text(out, b"MAIL FROM:<")
    append_argument(out, envelope.sender)
    buffer_byte(out, 62)
    if sized and envelope.size:
        append_text(out, b" SIZE=%d" % envelope.size)
    if eight_bit_mime:
        if flags & (EIGHT_BIT_BODY | BODY_8BITMIME):
            append_text(out, b" BODY=8BITMIME")
        elif flags & BODY_7BIT:
            append_text(out, b" BODY=7BIT")
    if dsn:
        if envelope.envid:
            append_text(out, b" ENVID=")
            append_argument(out, envelope.envid)
        if flags & RET_FULL:
            append_text(out, b" RET=FULL")
        elif flags & RET_HDRS:
            append_text(out, b" RET=HDRS")
    if flags & SMTPUTF8 and smtputf8:
        append_text(out, b" SMTPUTF8")
    return append_text(out, b"\r\n")


cdef inline int rcpt_command(ByteBuffer *out, Delivery delivery, Py_ssize_t i, bint dsn) except -1:
    """The i-th recipient of the delivery."""
    cdef Recipient recipient = delivery.message.envelope.recipients[delivery.recipients[i]]
    append_text(out, b"RCPT TO:<")
    if delivery.addresses:
        append_argument(out, delivery.addresses[i])
    else:
        append_argument(out, recipient.address)
    buffer_byte(out, 62)
    if dsn:
        if recipient.orcpt:
            append_text(out, b" ORCPT=")
            append_argument(out, recipient.orcpt)
        elif recipient.original:
            append_text(out, b" ORCPT=")
            append_xtext(out, recipient.original)
        if recipient.notify:
            append_text(out, b" NOTIFY=" + notify_words(recipient.notify))
    return append_text(out, b"\r\n")


cdef inline int append_text(ByteBuffer *out, bytes text) except -1:
    return buffer_append(out, <bytes_ptr><const char *>text, len(text))


cdef inline int append_argument(ByteBuffer *out, bytes text) except -1:
    cdef bytes_ptr data = <bytes_ptr><const char *>text
    cdef Py_ssize_t i
    for i in range(len(text)):
        if data[i] < 32 or data[i] == 127:
            raise AssertionError(f"control character in a stored address: {text!r}")
    return buffer_append(out, data, len(text))


cdef inline int append_xtext(ByteBuffer *out, bytes address) except -1:
    """RFC 3461 4.2: the original recipient as Postfix sends it when the client gave no ORCPT."""
    cdef Py_ssize_t i
    cdef unsigned char c
    cdef list encoded
    cdef bytes_ptr data = <bytes_ptr><const char *>address
    for i in range(len(address)):
        c = data[i]
        if c < 33 or c > 126 or c == 43 or c == 61:
            encoded = [
                b"+%02X" % c if c < 33 or c == 127 or c == 43 or c == 61 else bytes((c,)) for c in address
            ]
            append_text(out, b"rfc822;" if address.isascii() else b"utf-8;")
            return append_argument(out, b"".join(encoded))
    append_text(out, b"rfc822;")
    return append_text(out, address)


cdef inline bytes notify_words(int notify):
    if notify & 1:
        return b"NEVER"
    return b",".join([
        word for bit, word in ((2, b"SUCCESS"), (4, b"FAILURE"), (8, b"DELAY")) if notify & bit
    ])
