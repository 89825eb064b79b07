"""The receive path in order: bytes in, replies and one queue record out. Sans I/O; the shell is smtpd/connection.py.

    feed(data)  -> lines -> one method a verb -> replies in output()         (receive/_session.pyx, here)
    MAIL, RCPT  -> the path is parsed and put in canonical form, the checks decide, the envelope grows
    DATA, BDAT  -> the scanner takes contents until their end
    end of data -> header cleaned, recipients made unique, Received added    (receive/_transaction.pyx)
                -> take_message() -> committed() -> 250

feed() answers with a Status that tells the shell what must happen before the next feed(). What the shell
must wait for (a check that looks something up, the commit) pauses the session, and what was pipelined
behind it stays in the buffer. `_reset` ends a transaction, and every path out of one calls it.
RFC 5321, 2920 (pipelining), 3030 (BDAT), 3461 (DSN), 6531 (SMTPUTF8).
"""

from libc.stdint cimport uint64_t

from fastrelay._bytes cimport Slice, bytes_ptr, equals_nocase, slice_bytes, slice_object, slice_of
from fastrelay.cleanup._contents cimport BARE_LF, TOO_BIG
from fastrelay.cleanup._header_line cimport trimmed
from fastrelay.receive._rules cimport (
    AT_CLEANUP, AT_CONTENT, AT_DATA, AT_END_OF_DATA, AT_HELO, AT_MAIL, AT_RCPT, AT_UNKNOWN_COMMAND, SessionRules,
)
from fastrelay.receive._session cimport (
    AUTH, BDAT, CHUNK, COMMAND, CONTENT, DATA, EHLO, END_OF_MESSAGE, ETRN, HELO, MAIL, NOOP, PAUSED, QUIT, RCPT, RSET,
    STARTTLS, VRFY, XCLIENT, XFORWARD, Session, SessionClient, SessionJournal,
)
from fastrelay.receive._transaction cimport Transaction
from fastrelay.rewrite._address cimport (
    PATH_ALLOW_NULL, PATH_BAD_DOMAIN, PATH_BAD_UTF8, PATH_MISSING, PATH_OK, PATH_STRICT, PATH_UTF8, PATH_UTF8_LOCAL, Address, Path,
    PathResult, address_of, scan_path,
)
from fastrelay.wire._parameters cimport (
    MailParameters, RcptParameters, parse_mail_parameters, parse_rcpt_parameters, printable, xtext_object,
)
from fastrelay.wire._smtp cimport (
    NUMBER_OK, ends_group, has_control, is_junk, next_word, parse_number, skip_keyword, valid_utf8, verb_of,
)

from fastrelay.borders cimport Recipient
from fastrelay.borders import Flag
from fastrelay.wire import replies
from fastrelay.wire.commands import Verb
from fastrelay.wire.replies import R221_BYE, R250_QUEUED_AS, R250_RECIPIENT_OK, R250_SENDER_OK, R354_GO_AHEAD

cdef int SMTPUTF8 = Flag.SMTPUTF8
cdef bytes _SMTP = b"SMTP", _ESMTP = b"ESMTP", _UTF8SMTP = b"UTF8SMTP"


cdef class ReceiveSession(Session):
    """One client's dialogue."""

    cdef readonly bytes helo, protocol
    cdef uint64_t _chunk_left, _chunk_size
    cdef bint _chunk_is_last
    cdef bytes _chunk_refusal
    cdef object _candidate
    cdef bytes _mended

    def __init__(self, SessionRules rules not None, SessionClient client not None, SessionJournal journal not None):
        self.helo, self.protocol = b"", _SMTP
        self._begin(rules, client, journal)

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
        if ahead.size and self.rules.no_unauth_pipelining and (ends_group(verb) or self.protocol is not _ESMTP):
            self.journal.pipelining(self, Verb(verb).name.encode(), slice_object(ahead))
            self._count(replies.R554_SYNCHRONIZATION)
            self.abandon()
            return 0
        if is_junk(verb):
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
            self._count(R221_BYE)
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
        return self._wait(forbidden, AT_UNKNOWN_COMMAND)

    cdef int _unknown_checked(self, bint forbidden) except -1:
        cdef bytes line = self._candidate
        if forbidden:
            self.journal.not_smtp(self, line)
            self._count(replies.R221_NOT_SMTP)
            self.abandon()
            return 0
        return self._count(replies.R501_BAD_BYTE if has_control(slice_bytes(line)) else replies.R500_UNKNOWN_COMMAND)

    # Replies ---------------------------------------------------------------------------------------

    cdef void _reset(self):
        """What a verb has noted goes too."""
        Session._reset(self)
        self._candidate = None
        self._chunk_left = 0
        self._chunk_refusal = None

    # Checks ----------------------------------------------------------------------------------------

    cdef int _answered(self, int stage, object refusal) except -1:
        if stage == AT_UNKNOWN_COMMAND:
            return self._unknown_checked(refusal)
        if stage == AT_RCPT:
            return self._rcpt_checked(refusal)
        if stage == AT_MAIL:
            return self._mail_checked(refusal)
        if stage == AT_DATA:
            return self._data_checked(refusal)
        if stage == AT_HELO:
            return self._hello_checked(refusal)
        if stage == AT_CONTENT:
            return self._finish_message() if refusal is None else self._content_refused(refusal)
        if stage == AT_CLEANUP:
            return self._check(AT_CONTENT, b"") if refusal is None else self._content_refused(refusal)
        if refusal is not None:
            self.journal.reject(self, Verb(self._verb).name.encode(), refusal, b"")
            return self._content_refused(refusal)
        return self._check(AT_CLEANUP, b"")

    # Verbs -----------------------------------------------------------------------------------------

    cdef int _hello(self, int verb, Slice rest) except -1:
        """RFC 5321 4.1.1.1; it also ends a transaction (4.1.4)."""
        rest = trimmed(rest)
        if not rest.size:
            return self._count(replies.R501_EHLO_SYNTAX if verb == EHLO else replies.R501_HELO_SYNTAX)
        self._candidate = printable(slice_object(slice_of(rest.data, min(rest.size, 255))))
        return self._check(AT_HELO, self._candidate)

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
        if not skip_keyword(&rest, b"from:", 5):
            return self._count(replies.R501_MAIL_SYNTAX)
        result = <PathResult>self._scan(&rest, flags | PATH_UTF8, &path)
        if result == PATH_OK:
            refusal = parse_mail_parameters(slice_of(rest.data + path.used, rest.size - path.used),
                                            self.rules.size_limit, self.rules.utf8, self.rules.dsn, &found)
            if refusal is not None:
                if refusal is not replies.R552_SIZE_LIMIT:
                    return self._count(refusal)
                t.sender = self.rules.canonical(address_of(&path))
                return self._mail_checked(refusal)
            if not found.flags & SMTPUTF8:
                result = scan_path(rest, flags, &path)
        if result != PATH_OK:
            return self._bad_path(result, rest)
        t.size, t.flags, t.envid = found.size, found.flags, xtext_object(found.envid)
        t.sender = self.rules.canonical(address_of(&path))
        return self._check(AT_MAIL, t.sender.external)

    cdef int _mail_checked(self, bytes refusal) except -1:
        cdef bytes sender = self.transaction.sender.external
        if refusal is None and not self.rules.has_room(self.transaction.size):
            refusal = replies.R452_STORAGE_FULL
        if refusal is not None:
            self._refuse(refusal, sender)
            self._reset()
            return 0
        return self._count(R250_SENDER_OK)

    cdef int _rcpt(self, Slice rest) except -1:
        """RFC 5321 4.1.1.3."""
        cdef Path path
        cdef RcptParameters found
        cdef PathResult result
        cdef bytes refusal
        cdef Address address
        cdef Recipient recipient
        cdef Transaction t = self.transaction
        cdef unsigned int flags = (PATH_UTF8 if t.flags & SMTPUTF8 else 0) | (PATH_STRICT if self.rules.strict else 0)
        if t.sender is None:
            return self._count(replies.R503_NEED_MAIL)
        if t.chunked:
            return self._count(replies.R503_RCPT_AFTER_BDAT)
        if not skip_keyword(&rest, b"to:", 3):
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
        recipient = Recipient.__new__(Recipient)
        recipient.original, recipient.orcpt, recipient.notify = address.external, xtext_object(found.orcpt), found.notify
        address = self.rules.canonical(address)
        recipient.address = address.external
        self._candidate = (recipient, address)
        return self._check(AT_RCPT, self._candidate)

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
        cdef bint is_sender = self._verb == MAIL
        if result == PATH_MISSING:
            return self._count(replies.R501_MAIL_SYNTAX if is_sender else replies.R501_RCPT_SYNTAX)
        if result == PATH_BAD_UTF8:
            return self._count(replies.R500_BAD_UTF8)
        if result == PATH_UTF8_LOCAL:
            return self._count(replies.R553_NOT_SMTPUTF8)
        self.journal.bad_address(self, Verb(self._verb).name.encode(), slice_object(rest))
        return self._count(replies.R501_SENDER_ADDRESS if is_sender else replies.R501_RECIPIENT_ADDRESS)

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
        cdef Recipient recipient = (<tuple>self._candidate)[0]
        self._candidate = None
        if refusal is not None:
            return self._refuse(refusal, recipient.original)
        if t.message_id is None:
            t.expect(self._now)
            self.journal.client_accepted(self)
        t.recipients.append(recipient)
        return self._count(R250_RECIPIENT_OK)

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
        return self._check(AT_DATA, b"")

    cdef int _data_checked(self, bytes refusal) except -1:
        if refusal is not None:
            return self._refuse(refusal, b"")
        self._state = CONTENT
        return self._reply(R354_GO_AHEAD)

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
            self.transaction.scanner.feed_chunk(data, taken, self._chunk_is_last and <uint64_t>taken == self._chunk_left)
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
        if self.transaction.scanner.seen & TOO_BIG:
            self.journal.too_big(self)
            refusal = replies.R552_TOO_BIG
        elif self.transaction.scanner.seen & BARE_LF and self.rules.reject_bare_lf:
            refusal = self.rules.bare_lf_reply
        if refusal is not None:
            return self._content_refused(refusal)
        return self._check(AT_END_OF_DATA, b"")

    cdef int _content_refused(self, bytes refusal) except -1:
        self._count(refusal)
        self._verb = END_OF_MESSAGE
        self._reset()
        if refusal.startswith(b"521"):
            self.abandon()
        return self._check_errors()

    def clean_header(self, inspector):
        """For the check of Stage.CONTENT: (header, message ids, hops), with each header shown to `inspector`."""
        header = self.transaction.clean_header(inspector, self.client.is_local, self._who(), self._now)
        return header, self.rules.cleaner.message_ids, self.rules.cleaner.hops

    cdef tuple _who(self):
        return self.helo, self.client.name, self.client.address, self.with_protocol()

    cdef int _finish_message(self) except -1:
        """Everything that is done to a message before it is durable, in the order of the flow."""
        cdef Transaction t = self.transaction
        cdef tuple who = self._who()
        cdef bint checked = t.contents is not None
        cdef bytes header, body
        cdef list message_ids
        if not checked:
            t.make_contents(self.client.is_local, who, self._now)
        if t.hops >= self.rules.hop_limit and not t.discard:
            self.journal.too_many_hops(self)
            return self._content_refused(replies.R554_TOO_MANY_HOPS)
        header, body, message_ids = t.contents
        if not checked:
            self.journal.message_ids(self, message_ids)
        self._total[self._verb] += 1
        self._good[self._verb] += 1
        if t.discard:
            return self._end_message(None)
        envelope = t.make_envelope(len(header) + len(body), message_ids, who, self._now)
        self._message = (t.message_id, envelope, (header, body))
        t.hand_over()
        self._state = PAUSED
        return 0

    cdef int _end_message(self, bytes refusal) except -1:
        cdef Transaction t = self.transaction
        if refusal is not None:
            self._reply(refusal)
        else:
            self._errors = self._junk = 0
            self._reply(replies.r250_chunk_queued(t.scanner.size, t.queue_id) if t.chunked else R250_QUEUED_AS + t.queue_id)
        self._verb = END_OF_MESSAGE
        self._reset()
        return 0

    cpdef bytes with_protocol(self):
        """The protocol for `Received: ... with` and `proto=` (RFC 3848, RFC 6531 4.3)."""
        return _UTF8SMTP if self.transaction.flags & SMTPUTF8 else self.protocol
