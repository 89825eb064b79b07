"""What all sessions of one smtpd service share, made once by smtpd/service.py for each configuration."""

from libc.string cimport memchr

from fastrelay.cleanup._headers cimport HeaderCleaner
from fastrelay.rewrite._address cimport Address

import enum

from fastrelay.wire import replies


class Stage(enum.IntEnum):
    """Where a check stands in the dialogue; the index into SessionRules.checks."""

    HELO = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END_OF_DATA = 4
    CLEANUP = 5  # what is done to the envelope before the message is stored
    CONTENT = 6  # what is done to the contents


assert len(Stage) == AT_UNKNOWN_COMMAND


cdef class SessionRules:
    """What all sessions of one smtpd service share: limits in C, the fixed replies, and the callables of the shell.

    `checks` has a callable or None for each Stage, called with (session, argument) and answering None (go on),
    a reply (refuse), or an awaitable of either; `is_forbidden(word)` a bool or an awaitable. `cleanup` is one more
    check, None when no envelope changes; it calls transaction.map_envelope(). `content`, after it, calls
    session.clean_header(), and of the transaction body(), set_contents() and set_fate(). `new_id(now)` and
    `queue_name(id)` name the message, `has_room(size)` is the disk, `rewrite(address)` the canonical form,
    `received` makes the trace header, and has the date and the stamp for headers that are missing.
    `header_addresses` has the AddressHeaders of local clients and of the others, or None. `mend(path)` makes a path
    with a domain that main.cf lets pass one that can be read, or None.
    """

    def __init__(self, settings, *, ehlo_reply, checks, new_id, queue_name, has_room, rewrite, received,
                 is_forbidden, header_addresses=(None, None), cleanup=None, content=None, mend=None):
        self.myhostname = settings.myhostname.encode()
        self.greeting = b"220 " + settings.smtpd_banner.encode("utf-8", "surrogateescape")
        self.helo_reply = b"250 " + self.myhostname
        self.ehlo_reply = ehlo_reply
        self.cleaner = HeaderCleaner(
            [name.encode() for name in settings.message_drop_headers], settings.header_size_limit,
            settings.undisclosed_recipients_header.encode("utf-8", "surrogateescape"), self.myhostname)
        self.local_headers, self.remote_headers = header_addresses
        self.checks = (*checks, cleanup, content)
        self.mend = mend
        self.new_id, self.queue_name, self.has_room = new_id, queue_name, has_room
        self.rewrite, self.received, self.is_forbidden = rewrite, received, is_forbidden
        self.soft_errors, self.hard_errors = settings.smtpd_soft_error_limit, settings.smtpd_hard_error_limit
        self.junk_limit, self.hop_limit = settings.smtpd_junk_command_limit, settings.hopcount_limit
        self.recipient_limit = settings.smtpd_recipient_limit
        self.overshoot_limit = settings.smtpd_recipient_overshoot_limit
        self.duplicate_limit = settings.duplicate_filter_limit
        self.reject_bare_lf = settings.smtpd_forbid_bare_newline == "reject"
        self.bare_lf_reply = replies.bare_newline(settings.smtpd_forbid_bare_newline_reject_code, self.myhostname)
        self.content_filter = settings.content_filter.encode()
        self.line_limit = settings.line_length_limit
        self.size_limit = settings.message_size_limit
        self.bounce_sender = b"mailer-daemon@" + settings.myorigin.encode().lower()
        self.helo_required, self.strict = settings.smtpd_helo_required, settings.strict_rfc821_envelopes
        self.no_vrfy, self.utf8 = settings.disable_vrfy_command, b"SMTPUTF8" in ehlo_reply
        self.no_unauth_pipelining = settings.smtpd_forbid_unauth_pipelining
        self.chunking, self.dsn = b"CHUNKING" in ehlo_reply, b"DSN" in ehlo_reply
        self.always_add_headers = settings.always_add_missing_headers

    cdef Address canonical(self, Address address):
        """One canonical form, decided on once: what is checked is what is stored and sent (DESIGN.md 5)."""
        if address.domain and memchr(<const char *>address.domain, 46, len(address.domain)) != NULL:
            return address
        return self.rewrite(address)
