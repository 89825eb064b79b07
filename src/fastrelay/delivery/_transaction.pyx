"""One SMTP transaction: what is said for a delivery, what the replies to it mean, and its recipients' verdicts.

A Dialogue begins it in its Session, writes what `commands` makes and gives it each reply; it knows no connection
and no clock. The commands are numbered steps (RSET, MAIL, each RCPT, DATA, the end of data); `sent` and
`answered` count them, so a reply belongs to the oldest step that was sent and not answered (RFC 5321 3.3,
RFC 2920; Postfix's smtp_proto.c and smtp_trouble.c). A transaction may go on in a further session: then only
recipients without a verdict, and those whose failure another server may turn into success (`kept`), take part.
Invariant: a verdict is not changed within a session.
"""

cimport cython
from libc.string cimport memcmp

from fastrelay._bytes cimport FASTRELAY_DEBUG, ByteBuffer, buffer_free, buffer_init, buffer_object, bytes_ptr
from fastrelay.borders cimport Delivery, Envelope, Outcome
from fastrelay.delivery._commands cimport (
    EIGHT_BIT_BODY, EIGHT_BIT_HEADER, SMTPUTF8, append_text, mail_command, rcpt_command,
)

from fastrelay.borders import Status
from fastrelay.delivery.smtp_text import printable, reply_dsn

cdef object SENT = Status.SENT
cdef object DEFERRED = Status.DEFERRED
cdef object BOUNCED = Status.BOUNCED
cdef int _live = 0


def live_objects():
    """Sessions and transactions alive; counted in a debug build only."""
    return _live


cdef inline bytes clean(bytes_ptr text, Py_ssize_t size):
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] < 32 or text[i] > 126:
            return printable((<const char *>text)[:size])
    return (<const char *>text)[:size]


@cython.final
cdef class Session:
    """The server as verdicts name it, and what it offered."""

    def __cinit__(self, peer, features, bint takes_eight_bit, double setup_delay):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        self.relay, self.name, self.host = peer.relay, peer.name, peer.host
        self.size_limit = features.size
        self.dsn, self.smtputf8 = features.dsn, features.smtputf8
        self.eight_bit_mime = features.eight_bit_mime
        self.takes_eight_bit = takes_eight_bit or self.eight_bit_mime
        self.setup_delay = setup_delay

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1


@cython.final
cdef class Transaction:
    """One delivery's way through one or more sessions."""

    def __cinit__(self, Delivery delivery):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        self.delivery = delivery
        self.outcomes = [None] * len(delivery.recipients)
        self.kept = None
        self.visited = None
        self.sessions = 0

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1

    def settle(self, failure):
        """Give what no server answered for the verdict `failure`, also what waited for a further server."""
        cdef list recipients = self.delivery.recipients
        positions = range(len(recipients)) if self.kept is None else self.kept
        for i in positions:
            self.outcomes[i] = failure.outcome(recipients[i])
        return self.outcomes

    cdef int begin(self, Session session, double now, bint reset) except -1:
        """In this session, for those who have no verdict, or one that may change."""
        self.session = session
        self.todo = self.all_positions() if self.kept is None else self.kept
        for i in self.todo:
            self.outcomes[i] = None
        self.kept = None
        self.count = len(self.todo)
        self.began = now
        self.accepted = 0
        self.mail_accepted = self.mail_refused = self.content_sent = self.writing = self.bare_dot = False
        self.may_keep = False
        self.sent = self.answered = RSET_STEP if reset else MAIL_STEP
        return 0

    cdef list all_positions(self):
        cdef Py_ssize_t i
        return [i for i in range(len(self.delivery.recipients))]

    # Where it is

    cdef Py_ssize_t data_step(self) noexcept:
        return RCPT_STEP + self.count

    cdef bint is_over(self) noexcept:
        """The server has answered all that it was asked."""
        return self.answered > self.data_step() + 1

    cdef bint is_refused(self) noexcept:
        """There is nobody to send the contents to, and no 354 that must have its dot."""
        return self.mail_refused or (self.answered >= self.data_step() and not self.accepted and not self.bare_dot)

    cdef bint leaves_mail_open(self) noexcept:
        """The server waits for the rest of it: RSET must come before the next MAIL."""
        return self.mail_accepted and not self.content_sent and not self.bare_dot

    cdef bytes where(self):
        """What Postfix says that it was doing (xfer_states)."""
        if self.writing:
            return b"sending message body"
        if self.answered <= RSET_STEP:
            return b"sending RSET"
        if self.answered == MAIL_STEP:
            return b"sending MAIL FROM"
        if self.answered < self.data_step():
            return b"sending RCPT TO"
        if self.answered == self.data_step():
            return b"sending DATA command"
        return b"sending end of data -- message may be sent more than once"

    cdef bytes said_in_reply(self, bytes said):
        """Postfix's words for a reply that refuses what was asked last."""
        cdef bytes request
        if self.answered <= MAIL_STEP:
            request = b"MAIL FROM command"
        elif self.answered < self.data_step():
            request = b"RCPT TO command"
        elif self.answered == self.data_step():
            request = b"DATA command"
        else:
            request = b"end of DATA command"
        return b"host " + self.session.name + b" said: " + said + b" (in reply to " + request + b")"

    # What is said

    cdef bytes commands(self, bint pipelining):
        """The next command, or with PIPELINING all up to DATA (RFC 2920 3.1)."""
        cdef ByteBuffer out
        buffer_init(&out)
        try:
            while True:
                self.command(self.sent, &out)
                self.sent += 1
                if not pipelining or self.sent > self.data_step():
                    return buffer_object(&out)
        finally:
            buffer_free(&out)

    cdef int command(self, Py_ssize_t step, ByteBuffer *out) except -1:
        if step == RSET_STEP:
            append_text(out, b"RSET\r\n")
        elif step == MAIL_STEP:
            mail_command(
                out, self.delivery.message.envelope, self.session.size_limit is not None,
                self.session.eight_bit_mime, self.session.dsn, self.session.smtputf8,
            )
        elif step < self.data_step():
            rcpt_command(out, self.delivery, self.todo[step - RCPT_STEP], self.session.dsn)
        else:
            append_text(out, b"DATA\r\n")
        return 0

    # What the replies mean

    cdef bint take_reply(self, int code, bytes_ptr text, Py_ssize_t size, double now) except -1:
        """The reply to the oldest step without one; False: its class does not fit (250 to DATA: reliability O10)."""
        cdef int kind = code // 100
        cdef Py_ssize_t step = self.answered
        if step == RSET_STEP:
            if kind != 2:
                return False
        elif step == MAIL_STEP:
            if kind == 2:
                self.mail_accepted = True
            elif kind == 3:
                return False
            else:
                self.mail_refused = True
                self.refuse(-1, code, text, size, now)
        elif step < self.data_step():
            if self.mail_refused:
                pass  # 503 or whatever else: MAIL's reply is the verdict
            elif kind == 2:
                self.accepted += 1
            elif kind == 3:
                return False
            else:
                self.refuse(self.todo[step - RCPT_STEP], code, text, size, now)
        elif step == self.data_step():
            if kind == 3:
                self.bare_dot = self.accepted == 0
            elif kind == 2:
                return False
            elif self.accepted:
                self.refuse(-1, code, text, size, now)
                self.accepted = 0
        elif not self.bare_dot:
            if kind == 2:
                self.accept(code, text, size, now)
            elif kind == 3:
                return False
            else:
                self.refuse(-1, code, text, size, now)
        self.answered = step + 1
        return True

    # Verdicts

    cdef int accept(self, int code, bytes_ptr text, Py_ssize_t size, double now) except -1:
        cdef Session session = self.session
        cdef bytes said = clean(text, size)
        cdef bytes dsn
        cdef double taken = now - self.began
        cdef double setup = session.setup_delay if self.position == 1 else 0.0
        cdef list recipients = self.delivery.recipients
        cdef bytes action = b"" if session.dsn else b"relayed"  # RFC 3461 5.2.2: who knows DSN tells of success
        if size >= 10 and memcmp(text + 4, b"2.0.0 ", 6) == 0:
            dsn = b"2.0.0"
        else:
            dsn = reply_dsn(code, said[4:])
        for i in self.todo:
            if self.outcomes[i] is None:
                self.outcomes[i] = Outcome(
                    recipients[i], SENT, dsn, said, session.relay, setup, taken, session.host, said, action
                )
        return 0

    cdef int refuse(self, Py_ssize_t only, int code, bytes_ptr text, Py_ssize_t size, double now) except -1:
        """4xx or 5xx for one position, or with -1 for all that have no verdict."""
        cdef bytes said = clean(text, size)
        status = BOUNCED if code >= 500 else DEFERRED
        self.verdict(only, status, reply_dsn(code, said[4:]), self.said_in_reply(said), said, now)
        return 0

    cdef bint refuse_here(self, double now) except -1:
        """What the server's EHLO reply says that it will not take (RFC 1870, 6152, 6531)."""
        cdef bytes address
        cdef Session session = self.session
        cdef Envelope envelope = self.delivery.message.envelope
        cdef int flags = envelope.flags
        if session.size_limit and envelope.size > session.size_limit:
            reason = b"message size %d exceeds size limit %d of server %s" % (
                envelope.size, session.size_limit, session.name)
            self.verdict(-1, BOUNCED, b"5.3.4", reason, b"", now)
            return True
        if flags & EIGHT_BIT_BODY and not session.takes_eight_bit:
            reason = b"8BITMIME is required, but was not offered by host " + session.name
            self.verdict(-1, BOUNCED, b"5.6.3", reason, b"", now)
            return True
        if flags & SMTPUTF8 and not session.smtputf8:
            needed = flags & EIGHT_BIT_HEADER or not (<bytes>envelope.sender).isascii()
            for address in self.delivery.addresses:
                needed = needed or not address.isascii()
            if needed:
                reason = b"SMTPUTF8 is required, but was not offered by host " + session.name
                self.verdict(-1, BOUNCED, b"5.6.7", reason, b"", now)
                return True
        return False

    cdef int verdict(
        self, Py_ssize_t only, object status, bytes dsn, bytes reason, bytes said, double now,
    ) except -1:
        cdef Session session = self.session
        cdef double setup = session.setup_delay if self.position == 1 else 0.0
        cdef list recipients = self.delivery.recipients
        cdef bint keep = self.may_keep and status is DEFERRED
        for i in self.todo if only < 0 else (only,):
            if self.outcomes[i] is not None:
                continue
            self.outcomes[i] = Outcome(
                recipients[i], status, dsn, reason, session.relay, setup, now - self.began, session.host, said
            )
            if keep:
                if self.kept is None:
                    self.kept = []
                self.kept.append(i)
        return 0

    cdef int break_off(self, bytes dsn, bytes reason, bytes said, double now) except -1:
        """Its session ended: a verdict for all that have none."""
        self.content = None
        if self.content_sent:
            self.may_keep = False  # it may have arrived: another server now would make it two
        return self.verdict(-1, DEFERRED, dsn, reason, said, now)

    cdef bint reopen(self) except -1:
        """An old session died under it: begin again, but for recipients with their verdict. False: all have one."""
        cdef list open_positions = [i for i in self.todo if self.outcomes[i] is None]
        self.sessions -= 1
        self.content = None
        self.writing = False
        if not open_positions:
            return False
        if self.kept is None and len(open_positions) < len(self.outcomes):
            self.kept = []
        if self.kept is not None:
            self.kept.extend(open_positions)
        return True
