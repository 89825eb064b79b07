"""The receive path in order: bytes in, replies and one queue record out. Sans I/O; the shell is smtpd/connection.py.

    feed(data)  -> lines -> one method a verb -> replies in output()
    MAIL, RCPT  -> the path is parsed and put in canonical form, the checks decide, the envelope grows
    DATA, BDAT  -> the scanner takes contents until their end
    end of data -> header cleaned, recipients made unique, Received added: take_message() -> committed() -> 250

feed() answers with a Status that tells the shell what must happen before the next feed(). What the shell
must wait for (a check that looks something up, the commit) pauses the session, and what was pipelined
behind it stays in the buffer. `_reset` ends a transaction, and every path out of one calls it.
The file is long because the verbs share one state, which nobody else is to see or change.
RFC 5321, 2920 (pipelining), 3030 (BDAT), 3461 (DSN), 6531 (SMTPUTF8).
"""

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memmove

from fastrelay._bytes cimport (
    FASTRELAY_DEBUG, ByteBuffer, Slice, buffer_append, buffer_clear, buffer_free, buffer_init, buffer_object, bytes_ptr,
    equals_nocase, slice_bytes, slice_object, slice_of,
)
from fastrelay.cleanup._address_header cimport AddressHeaders
from fastrelay.cleanup._contents cimport BARE_LF, TOO_BIG, ContentScanner
from fastrelay.cleanup._headers cimport HeaderCleaner
from fastrelay.cleanup._recipients cimport unique_recipients
from fastrelay.rewrite._address cimport (
    PATH_ALLOW_NULL, PATH_BAD_DOMAIN, PATH_BAD_UTF8, PATH_MISSING, PATH_OK, PATH_STRICT, PATH_UTF8, PATH_UTF8_LOCAL, Address, Path,
    PathResult, address_of, scan_path,
)
from fastrelay.wire._parameters cimport (
    MailParameters, RcptParameters, parse_mail_parameters, parse_rcpt_parameters, printable, xtext_object,
)
from fastrelay.wire._smtp cimport NUMBER_OK, has_control, next_word, parse_number, valid_utf8, verb_of

import enum

from fastrelay.borders cimport Envelope, Recipient
from fastrelay.borders import Flag
from fastrelay.wire import replies
from fastrelay.wire.commands import COMMANDS, LOG_ORDER, Verb


class Status(enum.IntEnum):
    """What feed(), resume() and committed() ask of the shell."""

    NEED_DATA = 0  # write output(), feed more
    WAIT = 1  # await `waiting`, then resume(answer)
    MESSAGE_READY = 2  # take_message(), make it durable, then committed()
    DELAY = 3  # write output() after smtpd_error_sleep_time, then proceed()
    CLOSE = 4  # write output(), close


class Stage(enum.IntEnum):
    """Where a check stands in the dialogue; the index into SessionRules.checks."""

    HELO = 0
    MAIL = 1
    RCPT = 2
    DATA = 3
    END_OF_DATA = 4
    CLEANUP = 5  # what is done to the envelope before the message is stored
    CONTENT = 6  # what is done to the contents


cdef enum:
    NEED_DATA, WAIT, MESSAGE_READY, DELAY, CLOSE

cdef enum State:
    COMMAND, CONTENT, CHUNK, PAUSED, CLOSED

cdef enum:  # wire.commands.Verb
    HELO = 1
    EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, VRFY, ETRN, QUIT, HELP, STARTTLS, AUTH, XCLIENT, XFORWARD, EXPN
    VERBS
    END_OF_MESSAGE = VERBS  # in _verb, between a message's end and the next command

cdef int UNKNOWN_COMMAND = len(Stage)  # where one waits whether its word is forbidden
cdef int SMTPUTF8 = Flag.SMTPUTF8
cdef Address NULL_SENDER = Address(b"")
cdef list LOG_NAMES = [(int(verb), verb.name.lower().encode()) for verb in LOG_ORDER]
cdef bytes _SMTP = b"SMTP", _ESMTP = b"ESMTP", _UTF8SMTP = b"UTF8SMTP"


cdef bint ENDS_GROUP[VERBS]
cdef bint IS_JUNK[VERBS]
cdef Py_ssize_t KEPT_BUFFER = 4096  # bytes that an idle session's buffers keep
cdef Py_ssize_t SKIP_LIMIT = 1 << 20  # bytes of one overlong command line that are passed over before the close
cdef int _live = 0

assert EXPN == Verb.EXPN and VERBS == len(Verb)
for _command in COMMANDS:
    ENDS_GROUP[<int>_command.verb], IS_JUNK[<int>_command.verb] = _command.last, _command.junk


def live_objects():
    """How many sessions there are (counted in a debug build)."""
    return _live


cdef class SessionRules:
    """What all sessions of one smtpd service share: limits in C, the fixed replies, and the callables of the shell.

    `checks` has a callable or None for each Stage, called with (session, argument) and answering None (go on),
    a reply (refuse), or an awaitable of either; `is_forbidden(word)` a bool or an awaitable. `cleanup` is one more
    check, None when no envelope changes; it calls session.map_envelope(). `content`, after it, calls
    session.clean_header(), body(), set_contents() and set_fate(). `new_id(now)` and `queue_name(id)` name the message,
    `has_room(size)` is the disk, `rewrite(address)` the canonical form, `received(who, queue_id, recipient, now)` the
    trace header of received.Who, `dates(now)` the pair (RFC 5322 date, YYYYMMDDHHMMSS) for headers that are missing.
    `header_addresses` has the AddressHeaders of local clients and of the others, or None. `mend(path)` makes a path
    with a domain that main.cf lets pass one that can be read, or None.
    """

    cdef readonly bytes myhostname, greeting, helo_reply, ehlo_reply
    cdef readonly tuple checks
    cdef object mend, new_id, queue_name, has_room, rewrite, received, dates, is_forbidden
    cdef HeaderCleaner cleaner
    cdef AddressHeaders local_headers, remote_headers  # None: that client's header addresses stay as they are
    cdef int soft_errors, hard_errors, junk_limit, hop_limit, duplicate_limit
    cdef int recipient_limit, overshoot_limit, line_limit
    cdef uint64_t size_limit
    cdef bint helo_required, strict, no_vrfy, no_unauth_pipelining, utf8, chunking, dsn, always_add_headers
    cdef bint reject_bare_lf
    cdef bytes bare_lf_reply, bounce_sender, content_filter

    def __init__(self, settings, *, ehlo_reply, checks, new_id, queue_name, has_room, rewrite, received, dates,
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
        self.rewrite, self.received, self.dates, self.is_forbidden = rewrite, received, dates, is_forbidden
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


cdef class Transaction:
    """The session's scratch: what MAIL and RCPT said so far."""

    cdef readonly Address sender
    cdef readonly list recipients
    cdef readonly int flags
    cdef readonly bytes envid
    cdef readonly uint64_t size  # as declared by SIZE=
    cdef readonly object message_id
    cdef readonly bytes queue_id
    cdef Address mapped_sender  # as they are stored; None: as the client gave them
    cdef list mapped_recipients
    cdef tuple expanded  # recipients that are aliases and ask for NOTIFY=SUCCESS
    cdef tuple contents  # header, body and message ids, when the check of Stage.CONTENT has made them
    cdef bytes body  # when it is taken from the scanner before its time
    cdef bytes content_filter  # b"": the service's own; None: none at all
    cdef int hops
    cdef bint hold, discard
    cdef int overshoot
    cdef bint chunked, chunk_failed
    cdef uint64_t chunk_bytes

    cdef void reset(self):
        self.sender = None
        self.recipients = []
        self.flags = 0
        self.envid = b""
        self.size = 0
        self.message_id = None
        self.queue_id = b""
        self.mapped_sender = None
        self.mapped_recipients = None
        self.expanded = ()
        self.contents = self.body = None
        self.content_filter = b""
        self.hold = self.discard = False
        self.overshoot = 0
        self.chunked = self.chunk_failed = False
        self.chunk_bytes = 0


cdef class Session:
    """See _core.pxd; ReceiveSession is all that there is of it."""

    cpdef int feed(self, bytes data, double now) except -1:
        raise NotImplementedError

    cpdef bytes output(self):
        raise NotImplementedError

    cpdef bint is_waiting(self) noexcept:
        return False

    cpdef bint in_content(self) noexcept:
        return False

    cpdef int committed(self, double now, bytes refusal=None) except -1:
        raise NotImplementedError


cdef class ReceiveSession(Session):
    """One client's dialogue. `client` has name, address, is_local; `journal` logs (see smtpd/journal.py)."""

    cdef readonly SessionRules rules
    cdef readonly object client, journal, waiting
    cdef readonly Transaction transaction
    cdef readonly bytes helo, protocol
    cdef ContentScanner _scanner
    cdef ByteBuffer _in
    cdef ByteBuffer _out
    cdef State _state
    cdef int _verb, _errors, _junk, _after
    cdef int _total[VERBS]
    cdef int _good[VERBS]
    cdef bint _bad_reply, _too_long
    cdef Py_ssize_t _skipped
    cdef uint64_t _chunk_left, _chunk_size
    cdef bint _chunk_is_last
    cdef bytes _chunk_refusal
    cdef double _now
    cdef object _candidate
    cdef tuple _message
    cdef bytes _mended

    def __cinit__(self):
        global _live
        buffer_init(&self._in)
        buffer_init(&self._out)
        if FASTRELAY_DEBUG:
            _live += 1

    def __init__(self, SessionRules rules not None, client, journal):
        self.rules, self.client, self.journal = rules, client, journal
        self.helo, self.protocol = b"", b"SMTP"
        self.transaction = Transaction()
        self._scanner = ContentScanner(rules.size_limit)
        self._state = COMMAND
        self._reset()
        self._reply(rules.greeting)

    def __dealloc__(self):
        global _live
        buffer_free(&self._in)
        buffer_free(&self._out)
        if FASTRELAY_DEBUG:
            _live -= 1

    # The shell's side ------------------------------------------------------------------------------

    cpdef int feed(self, bytes data, double now) except -1:
        """Take what the client sent at `now` (epoch seconds); a Status."""
        cdef Slice view
        cdef Py_ssize_t used
        if self._state == CLOSED:
            return CLOSE
        self._now = now
        if self._in.size or self._state == PAUSED:
            buffer_append(&self._in, <bytes_ptr><const char *>data, len(data))
            return self._proceed_buffered()
        view = slice_bytes(data)
        used = self._run(view.data, view.size)
        if used < view.size and self._state != CLOSED:
            buffer_append(&self._in, view.data + used, view.size - used)
        return self._status()

    cpdef bytes output(self):
        """The replies written since the last call."""
        cdef bytes out = buffer_object(&self._out)
        buffer_clear(&self._out, KEPT_BUFFER)
        return out

    def resume(self, answer, double now):
        """Go on with what a check answered: None or a reply. A Status."""
        self._now, self.waiting, self._state = now, None, COMMAND
        self._answered(self._after, answer)
        self._check_errors()
        return self._proceed_buffered()

    def proceed(self, double now):
        """Go on after a DELAY. A Status."""
        self._now = now
        if self._state == PAUSED:
            self._state = COMMAND
        self._after = 0
        return self._proceed_buffered()

    def take_message(self):
        """(message id number, Envelope, contents in pieces) of the message that waits for its commit."""
        message, self._message = self._message, None
        return message

    cpdef int committed(self, double now, bytes refusal=None) except -1:
        """The message is durable, or `refusal` says why it never will be. A Status."""
        self._now, self._state = now, COMMAND
        self._end_message(refusal)
        return self._proceed_buffered()

    def abandon(self):
        """The connection is gone or is to go: nothing of an unfinished message stays."""
        if self._state == CONTENT or self._state == CHUNK:
            self._total[DATA if self._state == CONTENT else BDAT] += 1
        self._reset()
        self._state, self.waiting, self._message = CLOSED, None, None
        self._in.size = 0

    def refuse(self, bytes reply):
        """End the dialogue with `reply` (a time-out, a shutdown)."""
        self._reply(reply)
        self.abandon()

    @property
    def buffered(self):
        """Bytes of contents held in memory."""
        return self._scanner.buffered_bytes()

    cpdef bint in_content(self) noexcept:
        """Is the client sending contents? (for the deadline)"""
        return self._state == CONTENT or self._state == CHUNK

    @property
    def is_open(self):
        """Has nothing ended the dialogue yet?"""
        return self._state != CLOSED

    cpdef bint is_waiting(self) noexcept:
        """Does the client wait for us?"""
        return self._state == PAUSED

    @property
    def last_verb(self):
        """The name of the last command, for `lost connection after ...`."""
        if self._state == CONTENT:
            return b"DATA (%d bytes)" % self._scanner.size
        if self._verb == BDAT:
            return b"BDAT (%d bytes)" % self._scanner.size
        if self._verb == END_OF_MESSAGE:
            return b"END-OF-MESSAGE"
        return Verb(self._verb).name.encode() if self._verb else (b"UNKNOWN" if self._total[0] else b"CONNECT")

    def counts(self):
        """[(verb name, good, total)] in the order of the disconnect line."""
        cdef list found = []
        cdef int verb
        for verb, name in LOG_NAMES:
            if self._total[verb]:
                found.append((name, self._good[verb], self._total[verb]))
        return found

    # Running ---------------------------------------------------------------------------------------

    cdef int _status(self) noexcept:
        if self._state == CLOSED:
            return CLOSE
        if self._state == PAUSED:
            return WAIT if self.waiting is not None else MESSAGE_READY if self._message is not None else DELAY
        return NEED_DATA

    cdef int _proceed_buffered(self) except -1:
        cdef Py_ssize_t used
        if self._state != PAUSED and self._state != CLOSED:
            used = self._run(self._in.data, self._in.size)
            if used and self._in.size:
                memmove(self._in.data, self._in.data + used, self._in.size - used)
                self._in.size -= used
        if not self._in.size:
            buffer_clear(&self._in, KEPT_BUFFER)
        return self._status()

    cdef Py_ssize_t _run(self, bytes_ptr data, Py_ssize_t size) except -1:
        """Take whole commands and contents off `data`; how much was used."""
        cdef Py_ssize_t used = 0, taken
        while used < size and self._state != PAUSED and self._state != CLOSED:
            if self._state == CONTENT:
                taken = self._scanner.feed(data + used, size - used)
                if taken < 0:
                    return size
                used += taken
                self._state = COMMAND
                self._content_ended()
            elif self._state == CHUNK:
                used += self._take_chunk(data + used, size - used)
            else:
                taken = self._take_line(data + used, size - used)
                if taken == 0:
                    break
                used += taken
        return used

    cdef Py_ssize_t _take_line(self, bytes_ptr data, Py_ssize_t size) except -1:
        """One command line off `data`, or 0 when its end is not there yet. An overlong one is passed over."""
        cdef bytes_ptr newline = <bytes_ptr>memchr(data, 10, size)
        cdef Py_ssize_t taken = size if newline == NULL else newline - data + 1
        cdef Py_ssize_t length
        if newline == NULL:
            if not self._too_long and size <= self.rules.line_limit + 1:  # the last byte may be its CR
                return 0
            self._too_long = True
            self._skipped += taken
            return self._end_endless_line(taken) if self._skipped > SKIP_LIMIT else taken
        if self._skipped + taken - 1 > SKIP_LIMIT:
            return self._end_endless_line(taken)
        length = taken - 1
        if length and data[length - 1] == 13:
            length -= 1
        elif self.rules.reject_bare_lf and length <= self.rules.line_limit and not self._too_long:
            self._verb = 0
            self._count(self.rules.bare_lf_reply)
            self.abandon()
            return taken
        if self._too_long or length > self.rules.line_limit:
            self._too_long, self._skipped, self._verb = False, 0, 0
            self._count(replies.R500_LINE_TOO_LONG)
        else:
            self._command(slice_of(data, length), slice_of(data + taken, size - taken))
        self._check_errors()
        return taken

    cdef Py_ssize_t _end_endless_line(self, Py_ssize_t taken) except -1:
        self._verb = 0
        self._count(replies.R500_LINE_TOO_LONG)
        self.abandon()
        return taken

    cdef int _check_errors(self) except -1:
        """smtpd_hard_error_limit ends the session, smtpd_soft_error_limit slows all its replies down."""
        if self._state == COMMAND and self._errors >= self.rules.soft_errors:
            if self._errors >= self.rules.hard_errors:
                self._reply(replies.r421_too_many_errors(self.rules.myhostname))
                self.journal.too_many_errors(self)
                self.abandon()
            elif self._errors > self.rules.soft_errors or not self._bad_reply:
                self._state = PAUSED
        return 0

    cdef int _command(self, Slice line, Slice ahead) except -1:
        """Find the verb and run its method; everything that holds for all verbs is here."""
        cdef Slice rest = line, word
        cdef int verb
        self._bad_reply = False
        word = next_word(&rest)
        verb = self._verb = verb_of(word)
        if self.rules.utf8 and not valid_utf8(line):
            return self._count(replies.R500_BAD_UTF8)
        if word.size == 0:
            return self._count(replies.R500_BAD_SYNTAX)
        if verb == 0:
            return self._unknown(line, word)
        if ahead.size and self.rules.no_unauth_pipelining and (ENDS_GROUP[verb] or self.protocol is not _ESMTP):
            self.journal.pipelining(self, Verb(verb).name.encode(), slice_object(ahead))
            self._count(replies.R554_SYNCHRONIZATION)
            self.abandon()
            return 0
        if IS_JUNK[verb]:
            self._junk += 1
            if self._junk > self.rules.junk_limit + 1:  # Postfix's limit lets one more pass
                self._errors += 1
                self._bad_reply = True
        if has_control(rest) and verb != MAIL and verb != RCPT:
            return self._count(replies.R501_BAD_BYTE)
        return self._verb_method(verb, rest)

    cdef int _verb_method(self, int verb, Slice rest) except -1:
        if verb == MAIL:
            return self._mail(rest)
        if verb == RCPT:
            return self._rcpt(rest)
        if verb == DATA:
            return self._data(rest)
        if verb == BDAT:
            return self._bdat(rest)
        if verb == EHLO or verb == HELO:
            return self._hello(verb, rest)
        if verb == RSET:
            return self._rset(rest)
        if verb == NOOP:
            return self._count(replies.R250_OK)
        if verb == QUIT:
            self._count(replies.R221_BYE)
            self.abandon()
            return 0
        if verb == VRFY:
            return self._vrfy(rest)
        if verb == ETRN:
            return self._etrn(rest)
        if verb == XCLIENT or verb == XFORWARD:
            return self._count(
                replies.R550_NOT_AUTHORIZED if self.transaction.sender is None else replies.R503_IN_TRANSACTION)
        if verb == STARTTLS and next_word(&rest).size:
            return self._count(replies.R501_STARTTLS_SYNTAX)
        return self._count(replies.R503_AUTH_NOT_ENABLED if verb == AUTH else replies.R502_NOT_IMPLEMENTED)

    cdef int _unknown(self, Slice line, Slice word) except -1:
        """smtpd_forbidden_commands ends the session of what is no SMTP client (cross-protocol requests)."""
        cdef object forbidden = self.rules.is_forbidden(slice_object(word))
        self._candidate = slice_object(line)
        if isinstance(forbidden, bool):
            return self._unknown_checked(forbidden)
        self.waiting, self._after, self._state = forbidden, UNKNOWN_COMMAND, PAUSED
        return 0

    cdef int _unknown_checked(self, bint forbidden) except -1:
        cdef bytes line = self._candidate
        if forbidden:
            self.journal.not_smtp(self, line)
            self._count(replies.R221_NOT_SMTP)
            self.abandon()
            return 0
        return self._count(
            replies.R501_BAD_BYTE if has_control(slice_bytes(line)) else replies.R500_UNKNOWN_COMMAND)

    # Replies ---------------------------------------------------------------------------------------

    cdef int _reply(self, bytes line) except -1:
        buffer_append(&self._out, <bytes_ptr><const char *>line, len(line))
        buffer_append(&self._out, <bytes_ptr>b"\r\n", 2)
        return 0

    cdef int _count(self, bytes line) except -1:
        """Reply to the command at hand, and count it for the log and the error limits."""
        cdef char digit = (<const char *>line)[0]
        self._total[self._verb] += 1
        if (digit == 50 or digit == 51) and self._verb:
            self._good[self._verb] += 1
        else:
            self._errors += 1
            self._bad_reply = True
        return self._reply(line)

    cdef int _refuse(self, bytes line, bytes argument) except -1:
        """A refusal that the administrator wants to see in the log."""
        self.journal.reject(self, Verb(self._verb).name.encode(), line, argument)
        return self._count(line)

    cdef void _reset(self):
        """The one end of every transaction."""
        self.transaction.reset()
        self._scanner.reset()
        self._candidate = None
        self._chunk_left = 0
        self._chunk_refusal = None

    # Checks ----------------------------------------------------------------------------------------

    cdef int _check(self, int stage, object argument) except -1:
        """Ask the checks of this stage, and go on at once unless one of them has to wait."""
        cdef object check = self.rules.checks[stage]
        cdef object answer = None if check is None else check(self, argument)
        if answer is None or isinstance(answer, bytes):
            return self._answered(stage, answer)
        self.waiting, self._after, self._state = answer, stage, PAUSED
        return 0

    cdef int _answered(self, int stage, object refusal) except -1:
        if stage == UNKNOWN_COMMAND:
            return self._unknown_checked(refusal)
        if stage == 2:
            return self._rcpt_checked(refusal)
        if stage == 1:
            return self._mail_checked(refusal)
        if stage == 3:
            return self._data_checked(refusal)
        if stage == 0:
            return self._hello_checked(refusal)
        if stage == 6:
            return self._finish_message() if refusal is None else self._content_refused(refusal)
        if stage == 5:
            return self._check(6, b"") if refusal is None else self._content_refused(refusal)
        if refusal is not None:
            self.journal.reject(self, Verb(self._verb).name.encode(), refusal, b"")
            return self._content_refused(refusal)
        return self._check(5, b"")

    # Verbs -----------------------------------------------------------------------------------------

    cdef int _hello(self, int verb, Slice rest) except -1:
        """RFC 5321 4.1.1.1; it also ends a transaction (4.1.4)."""
        cdef bytes name = slice_object(rest).strip(b" \t")
        if not name:
            return self._count(replies.R501_EHLO_SYNTAX if verb == EHLO else replies.R501_HELO_SYNTAX)
        self._candidate = printable(name[:255])
        return self._check(0, self._candidate)

    cdef int _hello_checked(self, bytes refusal) except -1:
        cdef bytes name = self._candidate
        if refusal is not None:
            return self._refuse(refusal, name)
        self._reset()
        self.helo = name
        self.protocol = _ESMTP if self._verb == EHLO else _SMTP
        return self._count(self.rules.ehlo_reply if self._verb == EHLO else self.rules.helo_reply)

    cdef int _mail(self, Slice rest) except -1:
        """RFC 5321 4.1.1.2."""
        cdef Path path
        cdef MailParameters found
        cdef PathResult result
        cdef bytes refusal
        cdef Transaction t = self.transaction
        cdef unsigned int flags = PATH_ALLOW_NULL | (PATH_STRICT if self.rules.strict else 0)
        if self.rules.helo_required and not self.helo:
            return self._count(replies.R503_NEED_HELO)
        if t.sender is not None:
            return self._count(replies.R503_NESTED_MAIL)
        if t.chunked:
            return self._count(replies.R503_MAIL_AFTER_BDAT)
        if not _skip_keyword(&rest, b"from:", 5):
            return self._count(replies.R501_MAIL_SYNTAX)
        result = <PathResult>self._scan(&rest, flags | PATH_UTF8, &path)
        if result == PATH_OK:
            refusal = parse_mail_parameters(slice_of(rest.data + path.used, rest.size - path.used),
                                            self.rules.size_limit, self.rules.utf8, self.rules.dsn, &found)
            if refusal is replies.R552_SIZE_LIMIT:
                t.sender = self._canonical(address_of(&path))
                return self._mail_checked(refusal)
            if refusal is not None:
                return self._count(refusal)
            if not found.flags & SMTPUTF8:
                result = scan_path(rest, flags, &path)
        if result != PATH_OK:
            return self._bad_path(result, rest)
        t.size, t.flags, t.envid = found.size, found.flags, xtext_object(found.envid)
        t.sender = self._canonical(address_of(&path))
        return self._check(1, t.sender.external)

    cdef int _mail_checked(self, bytes refusal) except -1:
        cdef bytes sender = self.transaction.sender.external
        if refusal is None and not self.rules.has_room(self.transaction.size):
            refusal = replies.R452_STORAGE_FULL
        if refusal is not None:
            self._refuse(refusal, sender)
            self._reset()
            return 0
        return self._count(replies.R250_SENDER_OK)

    cdef int _rcpt(self, Slice rest) except -1:
        """RFC 5321 4.1.1.3."""
        cdef Path path
        cdef RcptParameters found
        cdef PathResult result
        cdef bytes refusal
        cdef Address address
        cdef Transaction t = self.transaction
        cdef unsigned int flags = (PATH_UTF8 if t.flags & SMTPUTF8 else 0) | (PATH_STRICT if self.rules.strict else 0)
        if t.sender is None:
            return self._count(replies.R503_NEED_MAIL)
        if t.chunked:
            return self._count(replies.R503_RCPT_AFTER_BDAT)
        if not _skip_keyword(&rest, b"to:", 3):
            return self._count(replies.R501_RCPT_SYNTAX)
        result = <PathResult>self._scan(&rest, flags, &path)
        if result != PATH_OK:
            return self._bad_path(result, rest)
        address = address_of(&path)
        refusal = parse_rcpt_parameters(
            slice_of(rest.data + path.used, rest.size - path.used), self.rules.dsn, &found)
        if refusal is not None:
            return self._count(refusal)
        if self.rules.recipient_limit and len(t.recipients) >= self.rules.recipient_limit:
            return self._too_many_recipients()
        original = address.external
        address = self._canonical(address)
        self._candidate = (
            Recipient(address.external, original, xtext_object(found.orcpt), found.notify), address)
        return self._check(2, self._candidate)

    cdef int _scan(self, Slice *rest, unsigned int flags, Path *path) except -1:
        """scan_path, and once more when the domain is one that can be mended."""
        cdef PathResult result = scan_path(rest[0], flags, path)
        if result == PATH_BAD_DOMAIN and self.rules.mend is not None:
            self._mended = self.rules.mend(slice_object(rest[0]))
            if self._mended is not None:
                rest[0] = slice_bytes(self._mended)
                result = scan_path(rest[0], flags, path)
        return result

    cdef int _bad_path(self, PathResult result, Slice rest) except -1:
        cdef bytes reply = _path_reply(result, self._verb == MAIL)
        if reply is replies.R501_SENDER_ADDRESS or reply is replies.R501_RECIPIENT_ADDRESS:
            self.journal.bad_address(self, Verb(self._verb).name.encode(), slice_object(rest))
        return self._count(reply)

    cdef int _too_many_recipients(self) except -1:
        """smtpd_recipient_overshoot_limit: that many more are refused without counting as errors."""
        cdef Transaction t = self.transaction
        t.overshoot += 1
        self._count(replies.R452_TOO_MANY_RECIPIENTS)
        if t.overshoot <= self.rules.overshoot_limit:
            self._good[self._verb] += 1
            self._errors -= 1
            self._bad_reply = False
        return 0

    cdef int _rcpt_checked(self, bytes refusal) except -1:
        cdef Transaction t = self.transaction
        recipient = self._candidate[0]
        self._candidate = None
        if refusal is not None:
            return self._refuse(refusal, recipient.original)
        if t.message_id is None:
            t.message_id = self.rules.new_id(self._now)
            t.queue_id = self.rules.queue_name(t.message_id)
            self.journal.client_accepted(self)
        t.recipients.append(recipient)
        return self._count(replies.R250_RECIPIENT_OK)

    cdef int _data(self, Slice rest) except -1:
        """RFC 5321 4.1.1.4."""
        cdef Transaction t = self.transaction
        if t.chunked:
            return self._count(replies.R503_DATA_AFTER_BDAT)
        if t.sender is None:
            return self._count(replies.R503_NEED_RCPT)
        if not t.recipients:
            return self._count(replies.R554_NO_VALID_RECIPIENTS)
        if next_word(&rest).size:
            return self._count(replies.R501_DATA_SYNTAX)
        return self._check(3, b"")

    cdef int _data_checked(self, bytes refusal) except -1:
        if refusal is not None:
            return self._refuse(refusal, b"")
        self._state = CONTENT
        return self._reply(replies.R354_GO_AHEAD)

    cdef int _bdat(self, Slice line) except -1:
        """RFC 3030 2: the size is known before anything can be refused, so the octets are always passed over."""
        cdef Slice rest = line
        cdef Slice count = next_word(&rest), last = next_word(&rest)
        cdef Transaction t = self.transaction
        cdef bint is_last = last.size > 0
        if not self.rules.chunking:
            return self._count(replies.R502_NOT_IMPLEMENTED)
        if parse_number(count, &self._chunk_left) != NUMBER_OK or next_word(&rest).size or (
                is_last and not equals_nocase(last, b"last", 4)):
            self.journal.malformed_bdat(self, slice_object(line))
            self._count(replies.R521_BDAT_SYNTAX)
            self.abandon()
            return 0
        self._chunk_is_last = is_last
        self._chunk_size = self._chunk_left
        self._chunk_refusal = self._bdat_refusal()
        t.chunk_bytes += self._chunk_left
        t.chunked = True
        self._state = CHUNK
        if self._chunk_left == 0:
            self._take_chunk(NULL, 0)
        return 0

    cdef bytes _bdat_refusal(self):
        cdef Transaction t = self.transaction
        if t.chunk_failed:
            return replies.r551_discarded(self._chunk_left)
        if t.sender is None:
            return replies.R503_NEED_RCPT
        if not t.recipients:
            return replies.R554_NO_VALID_RECIPIENTS
        if self.rules.size_limit and t.chunk_bytes + self._chunk_left > self.rules.size_limit:
            self.journal.chunk_too_big(self)
            return replies.R552_CHUNK_TOO_BIG
        return None

    cdef Py_ssize_t _take_chunk(self, bytes_ptr data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken = size if <uint64_t>size < self._chunk_left else <Py_ssize_t>self._chunk_left
        if self._chunk_refusal is None:
            self._scanner.feed_chunk(data, taken, self._chunk_is_last and <uint64_t>taken == self._chunk_left)
        self._chunk_left -= taken
        if self._chunk_left == 0:
            self._chunk_ended()
            self._check_errors()
        return taken

    cdef int _chunk_ended(self) except -1:
        cdef Transaction t = self.transaction
        self._state = COMMAND
        if self._chunk_refusal is not None:
            self._count(self._chunk_refusal)
            if self._chunk_is_last:
                self._reset()
            else:
                t.chunk_failed = True
            return 0
        if self._chunk_is_last:
            return self._content_ended()
        return self._count(replies.r250_chunk(self._chunk_size))

    cdef int _rset(self, Slice rest) except -1:
        if next_word(&rest).size:
            return self._count(replies.R501_RSET_SYNTAX)
        self._reset()
        return self._count(replies.R250_OK)

    cdef int _vrfy(self, Slice rest) except -1:
        """RFC 5321 3.5.3: 252 for every well-formed address, known or not; the transaction stays as it is."""
        cdef Path path
        cdef PathResult result
        cdef Slice asked = rest
        if self.rules.no_vrfy:
            return self._count(replies.R502_VRFY_DISABLED)
        result = scan_path(rest, PATH_UTF8 if self.rules.utf8 else 0, &path)
        if result == PATH_MISSING:
            return self._count(replies.R501_VRFY_SYNTAX)
        if result == PATH_OK:
            rest = slice_of(rest.data + path.used, rest.size - path.used)
            word = next_word(&rest)
            if word.size == 0 or equals_nocase(word, b"smtputf8", 8):
                address = slice_object(slice_of(asked.data, path.used)).strip(b" \t")
                return self._count(replies.r252_unverified(printable(address)))
        return self._count(replies.R501_RECIPIENT_ADDRESS)

    cdef int _etrn(self, Slice rest) except -1:
        """RFC 1985; no domain has a fast flush service."""
        cdef Path path
        cdef Slice word = next_word(&rest)
        if self.rules.helo_required and not self.helo:
            return self._count(replies.R503_ETRN_NEED_HELO)
        if word.size == 0 or next_word(&rest).size:
            return self._count(replies.R500_ETRN_SYNTAX)
        domain = slice_object(word)
        if domain[:1] in (b"@", b"#"):
            domain = domain[1:]
        mailbox = b"<x@%b>" % domain
        if b"@" in domain or scan_path(slice_bytes(mailbox), 0, &path) != PATH_OK:
            return self._count(replies.R501_ETRN_PARAMETER)
        self.journal.no_flush(self, domain)
        return self._count(replies.r459_no_flush(printable(domain)))

    # End of data -----------------------------------------------------------------------------------

    cdef int _content_ended(self) except -1:
        """The contents are whole: the last reasons to refuse, then the checks of this stage."""
        cdef bytes refusal = None
        self._bad_reply = False
        if not self.transaction.chunked:
            self._verb = DATA
        if self._scanner.seen & TOO_BIG:
            self.journal.too_big(self)
            refusal = replies.R552_TOO_BIG
        elif self._scanner.seen & BARE_LF and self.rules.reject_bare_lf:
            refusal = self.rules.bare_lf_reply
        if refusal is not None:
            return self._content_refused(refusal)
        return self._check(4, b"")

    cdef int _content_refused(self, bytes refusal) except -1:
        self._count(refusal)
        self._verb = END_OF_MESSAGE
        self._reset()
        if refusal.startswith(b"521"):
            self.abandon()
        return self._check_errors()

    def map_envelope(self, Address sender not None, list recipients not None, tuple expanded=()):
        """For the check of Stage.CLEANUP: what is to be stored and not what the client said."""
        cdef Transaction t = self.transaction
        t.mapped_sender, t.mapped_recipients, t.expanded = sender, recipients, expanded

    def clean_header(self, inspector):
        """For the check of Stage.CONTENT: (header, message ids, hops), with each header shown to `inspector`."""
        header = self._clean(inspector)
        return header, self.rules.cleaner.message_ids, self.rules.cleaner.hops

    def body(self):
        """For the check of Stage.CONTENT: what follows the header, in wire form."""
        if self.transaction.body is None:
            self.transaction.body = self._scanner.take_body()
        return self.transaction.body

    def set_contents(self, bytes header not None, bytes body not None, list message_ids not None, int hops):
        """For the check of Stage.CONTENT: what is to be stored."""
        self.transaction.contents, self.transaction.hops = (header, body, message_ids), hops

    @property
    def stored_recipients(self):
        """The recipients as they are to be stored."""
        cdef Transaction t = self.transaction
        return t.recipients if t.mapped_recipients is None else t.mapped_recipients

    def set_recipients(self, list recipients not None):
        """For the check of Stage.CONTENT: who gets the message."""
        cdef Transaction t = self.transaction
        self.map_envelope(t.sender if t.mapped_sender is None else t.mapped_sender, recipients, t.expanded)

    def set_fate(self, bint hold, bint discard, bytes content_filter):
        """For the check of Stage.CONTENT: where the message goes. `content_filter` None: through none at all."""
        cdef Transaction t = self.transaction
        t.hold, t.discard, t.content_filter = hold, discard, content_filter

    cdef bytes _clean(self, inspector):
        cdef Transaction t = self.transaction
        cdef AddressHeaders addresses = self.rules.local_headers if self.client.is_local else self.rules.remote_headers
        cdef bint add_missing = self.rules.always_add_headers or addresses is not None or self.client.is_local
        cdef Address sender
        if t.mapped_sender is None and self._is_bounce_sender(t.sender):
            self.map_envelope(NULL_SENDER, t.recipients)
        sender = t.sender if t.mapped_sender is None else t.mapped_sender
        date, stamp = self.rules.dates(self._now) if add_missing else (b"", b"")
        return self.rules.cleaner.clean(
            self._scanner, self._received(), addresses, inspector, add_missing, sender.external,
            t.queue_id, date, stamp)

    cdef bytes _received(self):
        """Our trace header (RFC 5321 4.4)."""
        cdef Transaction t = self.transaction
        who = self.helo, self.client.name, self.client.address, self._with()
        recipient = (<Recipient>t.recipients[0]).address if len(t.recipients) == 1 else b""
        return self.rules.received(who, t.queue_id, recipient, self._now)

    cdef int _finish_message(self) except -1:
        """Everything that is done to a message before it is durable, in the order of the flow."""
        cdef Transaction t = self.transaction
        cdef bytes header, body
        cdef list message_ids
        if t.contents is None:
            header = self._clean(None)
            t.hops, message_ids = self.rules.cleaner.hops, self.rules.cleaner.message_ids
        else:
            header, body, message_ids = t.contents
        if t.hops >= self.rules.hop_limit and not t.discard:
            self.journal.too_many_hops(self)
            return self._content_refused(replies.R554_TOO_MANY_HOPS)
        if t.contents is None:
            body = self.body()
            self.journal.message_ids(self, message_ids)
        self._total[self._verb] += 1
        self._good[self._verb] += 1
        if t.discard:
            return self._end_message(None)
        envelope = self._envelope(len(header) + len(body), _message_id(message_ids))
        self._message = (t.message_id, envelope, (header, body))
        t.body = t.contents = None
        self._state = PAUSED
        return 0

    cdef bint _is_bounce_sender(self, Address sender):
        """MAILER-DAEMON of ours is how software that knows no <> answers a bounce (cleanup_addr.c)."""
        return len(sender.local) == 13 and sender.external.lower() == self.rules.bounce_sender

    cdef int _end_message(self, bytes refusal) except -1:
        cdef Transaction t = self.transaction
        if refusal is not None:
            self._reply(refusal)
        else:
            self._errors = self._junk = 0
            if t.chunked:
                self._reply(replies.r250_chunk_queued(self._scanner.size, t.queue_id))
            else:
                self._reply(replies.r250_queued(t.queue_id))
        self._verb = END_OF_MESSAGE
        self._reset()
        return 0

    cdef object _envelope(self, Py_ssize_t size, bytes message_id):
        cdef Transaction t = self.transaction
        cdef Address sender = t.sender if t.mapped_sender is None else t.mapped_sender
        cdef list recipients = unique_recipients(self.stored_recipients, self.rules.duplicate_limit)
        cdef bytes content_filter = b"" if t.content_filter is None else t.content_filter or self.rules.content_filter
        return Envelope(
            sender.external, recipients, self._now, size, t.flags | self._scanner.flags, t.envid, message_id,
            self.client.name, self.client.address, self.helo, self._with(), 0,
            content_filter, t.hold, t.expanded)

    @property
    def with_protocol(self):
        """The protocol for `Received: ... with` and `proto=` (RFC 3848, RFC 6531 4.3)."""
        return self._with()

    cdef bytes _with(self):
        return _UTF8SMTP if self.transaction.flags & SMTPUTF8 else self.protocol

    cdef Address _canonical(self, Address address):
        """One canonical form, decided on once: what is checked is what is stored and sent (DESIGN.md 5)."""
        if address.domain and memchr(<const char *>address.domain, 46, len(address.domain)) != NULL:
            return address
        return self.rules.rewrite(address)


# Helpers -------------------------------------------------------------------------------------------

cdef bytes _message_id(list found):
    """The first that is not Resent-."""
    for resent, value in found:
        if not resent:
            return value
    return b""


cdef bint _skip_keyword(Slice *rest, const char *keyword, Py_ssize_t size) noexcept nogil:
    """Take `FROM:` or `TO:` off, ASCII case and blanks before it aside."""
    while rest.size and (rest.data[0] == 32 or rest.data[0] == 9):
        rest.data += 1
        rest.size -= 1
    if rest.size < size or not equals_nocase(slice_of(rest.data, size), keyword, size):
        return False
    rest.data += size
    rest.size -= size
    return True


cdef bytes _path_reply(PathResult result, bint is_sender):
    if result == PATH_MISSING:
        return replies.R501_MAIL_SYNTAX if is_sender else replies.R501_RCPT_SYNTAX
    if result == PATH_BAD_UTF8:
        return replies.R500_BAD_UTF8
    if result == PATH_UTF8_LOCAL:
        return replies.R553_NOT_SMTPUTF8
    return replies.R501_SENDER_ADDRESS if is_sender else replies.R501_RECIPIENT_ADDRESS
