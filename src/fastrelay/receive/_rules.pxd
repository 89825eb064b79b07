from libc.stdint cimport uint64_t

from fastrelay.cleanup._address_header cimport AddressHeaders
from fastrelay.cleanup._headers cimport HeaderCleaner
from fastrelay.cleanup.received cimport ReceivedHeader
from fastrelay.rewrite._address cimport Address

cdef enum:  # Stage, and where one waits whether an unknown command's word is forbidden
    AT_HELO, AT_MAIL, AT_RCPT, AT_DATA, AT_END_OF_DATA, AT_CLEANUP, AT_CONTENT, AT_UNKNOWN_COMMAND


cdef class SessionRules:
    cdef readonly bytes myhostname, greeting, helo_reply, ehlo_reply
    cdef readonly tuple checks
    cdef object mend, new_id, queue_name, has_room, rewrite, is_forbidden
    cdef ReceivedHeader received
    cdef HeaderCleaner cleaner
    cdef AddressHeaders local_headers, remote_headers  # None: that client's header addresses stay as they are
    cdef int soft_errors, hard_errors, junk_limit, hop_limit, duplicate_limit
    cdef int recipient_limit, overshoot_limit, line_limit
    cdef uint64_t size_limit
    cdef readonly int coming  # messages that clients are sending
    cdef bint helo_required, strict, no_vrfy, no_unauth_pipelining, utf8, chunking, dsn, always_add_headers
    cdef bint reject_bare_lf
    cdef bytes bare_lf_reply, bounce_sender, content_filter

    cdef Address canonical(self, Address address)
