"""What stands behind the path of MAIL and RCPT; shared with `_core`."""

from libc.stdint cimport uint64_t

from fastrelay._bytes cimport Slice

cdef struct MailParameters:
    uint64_t size  # SIZE=, 0 when not given
    int flags  # borders.Flag: BODY, SMTPUTF8, RET
    Slice envid  # borrows from the command line

cdef struct RcptParameters:
    int notify  # borders.Notify
    Slice orcpt  # borrows from the command line

cdef bytes parse_mail_parameters(Slice rest, uint64_t size_limit, bint utf8, bint dsn, MailParameters *found)
cdef bytes parse_rcpt_parameters(Slice rest, bint dsn, RcptParameters *found)
cdef bytes xtext_object(Slice text)
cdef bytes printable(bytes text)
