"""One SMTP connection after EHLO: an asyncio Protocol that runs many messages over it (RFC 5321 3.3, RFC 2920).

session.py opens the connection and hands it over by transport.set_protocol(); SmtpAgent gives it queues
with run() and learns in run_ended() that it took no more. A Transaction's commands are numbered steps
(RSET, MAIL, each RCPT, DATA, the end of data); `sent` and `answered` count them, so a reply belongs to the
oldest step that was sent and not answered. A reply when nothing is owed means that both sides disagree
about where they are: the connection is aborted and nothing of it counts as success.
Invariant: each delivery taken is reported once, or handed back as unfinished; each run ends once.
The file is long because replies, verdicts and what is sent next are one state machine over two transactions.
"""

from libc.math cimport INFINITY

from fastrelay._bytes cimport FASTRELAY_DEBUG, ByteBuffer, buffer_free, buffer_init, buffer_object, bytes_ptr
from fastrelay.delivery._commands cimport (
    EIGHT_BIT_BODY, EIGHT_BIT_HEADER, LONG_LINES, SMTPUTF8, append_text, mail_command, rcpt_command,
)
from fastrelay.delivery._replies cimport NO_REPLY, NOTHING, UNASKED, ReplyReader

from fastrelay.borders cimport Delivery, Envelope, Outcome, QueuedMessage
from fastrelay.tcp._stream cimport Protocol
from fastrelay.borders import Status
from fastrelay.delivery.smtp_text import fold_lines, printable, reply_dsn

cdef object SENT = Status.SENT
cdef object DEFERRED = Status.DEFERRED
cdef object BOUNCED = Status.BOUNCED

cdef enum:
    RSET_STEP = 0
    MAIL_STEP = 1
    RCPT_STEP = 2  # the first of them

cdef enum:
    SMALL_CONTENT = 65536  # joined with what goes along, in one write
    CHUNK = 131072  # above the transport's high-water mark, so that each write is tried at once

cdef double PREFETCH_LATENCY = 0.5  # a server that takes longer to store a message keeps no second one waiting
cdef bytes DOT = b".\r\n"

cdef int _live = 0


def live_objects():
    """Dialogues and transactions alive; counted in a debug build only."""
    return _live


cdef class Transaction:
    """One delivery's way through one or more sessions."""

    cdef readonly Delivery delivery
    cdef readonly list outcomes  # parallel to delivery.recipients; None: no verdict yet
    cdef readonly list kept  # positions whose failure another server may turn into success
    cdef public set visited  # addresses that were tried
    cdef public int sessions
    cdef public object failure  # why opening a session failed, where it did
    cdef list todo  # positions that this session is to deliver to
    cdef list content
    cdef Py_ssize_t sent, answered, count, accepted
    cdef int position  # which transaction of its connection
    cdef bint mail_accepted, mail_refused, content_sent, writing, bare_dot
    cdef double began

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

    cdef Py_ssize_t data_step(self) noexcept:
        return RCPT_STEP + self.count

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


cdef class Dialogue(Protocol):
    cdef readonly object agent, transport, queue
    cdef readonly object peer  # session.Peer
    cdef readonly object features  # session.Features
    cdef readonly tuple key
    cdef readonly bint alive, retired
    cdef readonly double opened
    cdef public double deadline
    cdef public double idle_since
    cdef public bint more  # the destination has further servers to try
    cdef public bint single  # made for one delivery's fail-over: take no others
    cdef public list later  # transactions that go on elsewhere after this run
    cdef object settings, report, clock, now
    cdef bytes relay, name, host
    cdef list held, unfinished
    cdef ReplyReader replies
    cdef Transaction current, following
    cdef bint paused, pipelining, dsn, needs_reset, running, quitting, closed
    cdef bint answered  # a whole reply came in this read: only that moves the deadline
    cdef object size_limit
    cdef double setup_delay, last_latency, dot_sent, last_reply
    cdef double mail_timeout, rcpt_timeout, data_init_timeout, data_xfer_timeout, data_done_timeout, rset_timeout
    cdef double reuse_time
    cdef int transactions, reuse_count
    cdef object chunks  # what is left of a large body, an iterator

    def __cinit__(self, *args):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1

    def __init__(self, agent, settings, tuple key, peer, features, transport, double opened):
        self.agent = agent
        self.settings = settings
        self.report = agent.report
        self.clock = agent.clock
        self.now = agent.now
        self.key = key
        self.peer = peer
        self.features = features
        self.relay = peer.relay
        self.name = peer.name
        self.host = peer.host
        self.transport = transport
        self.opened = opened
        self.setup_delay = self.now() - opened
        self.pipelining = features.pipelining
        self.dsn = features.dsn
        self.size_limit = features.size
        self.mail_timeout = settings.smtp_mail_timeout
        self.rcpt_timeout = settings.smtp_rcpt_timeout
        self.data_init_timeout = settings.smtp_data_init_timeout
        self.data_xfer_timeout = settings.smtp_data_xfer_timeout
        self.data_done_timeout = settings.smtp_data_done_timeout
        self.rset_timeout = settings.smtp_rset_timeout
        self.reuse_time = settings.smtp_connection_reuse_time_limit
        self.reuse_count = settings.smtp_connection_reuse_count_limit
        self.deadline = INFINITY
        self.last_latency = INFINITY
        self.alive = True
        self.replies = ReplyReader()

    # What the agent calls

    def run(self, queue, list held=None, list later=None):
        """Deliver `held` transactions, then what the queue gives; agent.run_ended() says when that is over."""
        if self.running or not self.alive:
            raise AssertionError("a dialogue runs for one queue at a time")
        self.queue = queue
        self.held = held
        self.later = later
        self.running = True
        self.retired = False
        self._start(self.now())

    def take_unfinished(self):
        """The transactions of the last run that another session has to go on with."""
        unfinished = self.unfinished
        if self.later:
            unfinished = (unfinished or []) + self.later
        self.unfinished = self.later = None
        return unfinished

    def expire(self, double now):
        """The sweep found the deadline passed."""
        if not self.alive or now < self.deadline:
            return
        if self.quitting or self.current is None:
            self.abort()
        else:
            self._broken(b"4.4.2", b"conversation with " + self.name + b" timed out while ", b"")

    def quit(self):
        """Say QUIT and close; with smtp_skip_quit_response without waiting for the answer."""
        if not self.alive:
            return
        self.quitting = True
        self.transport.write(b"QUIT\r\n")
        if self.settings.smtp_skip_quit_response:
            self.alive = False
            self.transport.close()
        else:
            self.deadline = self.now() + self.settings.smtp_quit_timeout

    def abort(self):
        self.alive = False
        self.deadline = INFINITY
        self.transport.abort()

    # What the transport calls

    def connection_made(self, transport):
        raise AssertionError("the transport is handed over connected")

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        if self.alive and self.current is not None and self.current.writing:
            self._write_chunks(self.now())

    def eof_received(self):
        return False

    def connection_lost(self, exc):
        if self.alive:
            if self.current is not None:
                self._broken(b"4.4.2", b"lost connection with " + self.name + b" while ", b"")
            else:
                self.alive = False
        if not self.closed:
            self.closed = True
            self.agent.closed(self)

    cpdef data_received(self, bytes data):
        if not self.alive:
            return
        if self.quitting:
            self.abort()
            return
        if self.current is None:
            self.abort()  # an idle server that speaks: 421 as a rule; the session is of no more use
            return
        self.last_reply = self.now()
        self.answered = False
        self.replies.feed(data)
        if self._take_replies():
            self._advance(self.last_reply)

    # Replies

    cdef bint _take_replies(self) except -1:
        """Take the whole replies that have come; False when the session is over."""
        cdef ReplyReader replies = self.replies
        cdef int code
        while self.alive:
            code = replies.next(self.current is not None and self.current.answered < self.current.sent)
            if code == NOTHING:
                return True
            elif code == NO_REPLY:
                self._protocol_error((<const char *>replies.text)[:replies.size])
            elif code == UNASKED:
                self._unexpected(replies.text, replies.size)
            else:
                self._reply(self.current, code, replies.text, replies.size)
        return False

    cdef int _unexpected(self, bytes_ptr rest, Py_ssize_t size) except -1:
        """Unread input before a command (reliability O14): its writer does not answer what we said."""
        text = printable((<const char *>rest)[:min(size, 200)]).rstrip(b" ?")
        self._broken(b"4.5.0", b"protocol error: unexpected reply from " + self.name + b" while ", b": " + text)
        return 0

    cdef int _protocol_error(self, bytes reply) except -1:
        text = printable(reply[:200]).rstrip()
        self._broken(b"4.5.0", b"protocol error in reply from " + self.name + b" while ", b": " + text)
        return 0

    cdef int _reply(self, Transaction t, int code, bytes_ptr text, Py_ssize_t size) except -1:
        """One reply, for the oldest step without one."""
        cdef int kind = code // 100
        cdef Py_ssize_t step = t.answered
        self.answered = True
        if code == 421:
            self._said_goodbye(t, step, code, text, size)
        elif step == MAIL_STEP:
            self._mail_reply(t, kind, code, text, size)
        elif step == RSET_STEP:
            if kind != 2:
                self._broken(b"4.5.0", b"protocol error in reply from " + self.name + b" while ", b"")
        elif step < t.data_step():
            self._rcpt_reply(t, step - RCPT_STEP, kind, code, text, size)
        elif step == t.data_step():
            self._data_reply(t, kind, code, text, size)
        else:
            self._end_reply(t, kind, code, text, size)
        if self.alive:
            t.answered = step + 1
            if step > t.data_step():
                self._finish(t)
        return 0

    cdef int _mail_reply(self, Transaction t, int kind, int code, bytes_ptr text, Py_ssize_t size) except -1:
        if kind == 2:
            t.mail_accepted = True
        elif kind >= 4:
            t.mail_refused = True
            self._refused(t, -1, code, text, size, b"MAIL FROM command")
        else:
            self._wrong_class(text, size)
        return 0

    cdef int _rcpt_reply(
        self, Transaction t, Py_ssize_t i, int kind, int code, bytes_ptr text, Py_ssize_t size
    ) except -1:
        if t.mail_refused:
            return 0  # 503 or whatever else: MAIL's reply is the verdict
        if kind == 2:
            t.accepted += 1
        elif kind >= 4:
            self._refused(t, t.todo[i], code, text, size, b"RCPT TO command")
        else:
            self._wrong_class(text, size)
        return 0

    cdef int _data_reply(self, Transaction t, int kind, int code, bytes_ptr text, Py_ssize_t size) except -1:
        if kind == 3:
            t.bare_dot = t.accepted == 0
        elif kind >= 4:
            if t.accepted:
                self._refused(t, -1, code, text, size, b"DATA command")
                t.accepted = 0
        else:
            self._wrong_class(text, size)
        return 0

    cdef int _end_reply(self, Transaction t, int kind, int code, bytes_ptr text, Py_ssize_t size) except -1:
        self.last_latency = self.last_reply - self.dot_sent
        if t.bare_dot:
            return 0
        if kind == 2:
            self._accepted(t, code, text, size)
        elif kind >= 4:
            self._refused(t, -1, code, text, size, b"end of DATA command")
        else:
            self._wrong_class(text, size)
        return 0

    cdef int _wrong_class(self, bytes_ptr text, Py_ssize_t size) except -1:
        """250 to DATA, 354 to RCPT: reliability O10."""
        self._protocol_error((<const char *>text)[:size])
        return 0

    cdef int _said_goodbye(
        self, Transaction t, Py_ssize_t step, int code, bytes_ptr text, Py_ssize_t size
    ) except -1:
        """421: the server closes the channel, whatever it was asked (RFC 5321 3.8)."""
        cdef bytes request
        if step <= MAIL_STEP:
            request = b"MAIL FROM command"
        elif step < t.data_step():
            request = b"RCPT TO command"
        elif step == t.data_step():
            request = b"DATA command"
        else:
            request = b"end of DATA command"
            t.content_sent = False  # it was refused: nothing is sent twice by trying another server
        said = printable((<const char *>text)[:size])
        self._broken(
            reply_dsn(code, said[4:]),
            b"host " + self.name + b" said: " + said + b" (in reply to " + request + b")", None, said,
        )
        return 0

    # Verdicts

    cdef bytes _clean(self, bytes_ptr text, Py_ssize_t size):
        cdef Py_ssize_t i
        for i in range(size):
            if text[i] < 32 or text[i] > 126:
                return printable((<const char *>text)[:size])
        return (<const char *>text)[:size]

    cdef int _accepted(self, Transaction t, int code, bytes_ptr text, Py_ssize_t size) except -1:
        cdef bytes said = self._clean(text, size)
        cdef bytes dsn
        cdef double taken = self.last_reply - t.began
        cdef double setup = self.setup_delay if t.position == 1 else 0.0
        cdef list recipients = t.delivery.recipients
        cdef bytes action = b"" if self.dsn else b"relayed"  # RFC 3461 5.2.2: who knows DSN tells of success
        if size >= 9 and said[4:10] == b"2.0.0 ":
            dsn = b"2.0.0"
        else:
            dsn = reply_dsn(code, said[4:])
        for i in t.todo:
            if t.outcomes[i] is None:
                t.outcomes[i] = Outcome(
                    recipients[i], SENT, dsn, said, self.relay, setup, taken, self.host, said, action
                )
        return 0

    cdef int _refused(
        self, Transaction t, Py_ssize_t only, int code, bytes_ptr text, Py_ssize_t size, bytes request
    ) except -1:
        """4xx or 5xx for one position, or with -1 for all that have no verdict."""
        cdef bytes said = self._clean(text, size)
        cdef bytes reason = b"host " + self.name + b" said: " + said + b" (in reply to " + request + b")"
        status = BOUNCED if code >= 500 else DEFERRED
        self._verdict(t, only, status, reply_dsn(code, said[4:]), reason, said)
        return 0

    cdef int _verdict(
        self, Transaction t, Py_ssize_t only, status, bytes dsn, bytes reason, bytes said
    ) except -1:
        cdef double taken = self.now() - t.began
        cdef double setup = self.setup_delay if t.position == 1 else 0.0
        cdef list recipients = t.delivery.recipients
        cdef bint keep = status is DEFERRED and self._may_keep(t)
        for i in t.todo if only < 0 else (only,):
            if t.outcomes[i] is not None:
                continue
            t.outcomes[i] = Outcome(
                recipients[i], status, dsn, reason, self.relay, setup, taken, self.host, said
            )
            if keep:
                if t.kept is None:
                    t.kept = []
                t.kept.append(i)
        return 0

    cdef bint _may_keep(self, Transaction t) except -1:
        cdef int limit = self.settings.smtp_mx_session_limit
        return self.more and (limit <= 0 or t.sessions < limit)

    cdef int _finish(self, Transaction t) except -1:
        """The server has answered all that it was asked; the next transaction moves up."""
        self.current = self.following
        self.following = None
        t.content = None
        self.needs_reset = t.mail_accepted and not t.content_sent and not t.bare_dot
        self.queue.succeeded()
        self._hand_over(t)
        return 0

    cdef int _hand_over(self, Transaction t) except -1:
        """Report a transaction, or keep it for a further server."""
        if t.kept is None:
            self.report(t.delivery, t.outcomes)
            return 0
        if t.visited is None:
            t.visited = set()
        t.visited.add(self.peer.endpoint)
        self._keep(t)
        return 0

    cdef int _keep(self, Transaction t) except -1:
        if self.unfinished is None:
            self.unfinished = []
        self.unfinished.append(t)
        return 0

    cdef int _broken(self, bytes dsn, bytes text, bytes after, bytes said=b"") except -1:
        """The conversation cannot go on. `after` None: the text is whole, else it ends in what we were doing."""
        cdef Transaction t = self.current
        cdef Transaction following = self.following
        queue = self.queue
        self.abort()
        self.current = self.following = None
        self.chunks = None
        if t is not None:
            reason = text if after is None else text + t.where() + after
            if t.position > 1 and not t.content_sent:
                self._keep_whole(t)
            else:
                self._break_one(t, dsn, reason, said)
                queue.failed(t.outcomes[t.todo[0]])
                self._hand_over(t)
        if following is not None:
            self._keep_whole(following)
        self._end_run()
        return 0

    cdef int _keep_whole(self, Transaction t) except -1:
        """An old session that died under a new message: begin again, but for recipients with their verdict."""
        cdef list open_positions = [i for i in t.todo if t.outcomes[i] is None]
        t.sessions -= 1
        t.content = None
        t.writing = False
        if not open_positions:
            self._hand_over(t)
            return 0
        if t.kept is None and len(open_positions) < len(t.outcomes):
            t.kept = []
        if t.kept is not None:
            t.kept.extend(open_positions)
        self._keep(t)
        return 0

    cdef int _break_one(self, Transaction t, bytes dsn, bytes reason, bytes said) except -1:
        cdef bint more = self.more
        t.content = None
        if t.content_sent:
            self.more = False  # it may have arrived: another server now would make it two
        self._verdict(t, -1, DEFERRED, dsn, reason, said)
        self.more = more
        return 0

    # What to send next

    cdef int _start(self, double now) except -1:
        """Nothing is under way: begin with the next transaction, or end the run."""
        cdef Transaction t = self._take(now)
        if t is None:
            self._end_run()
            return 0
        self.current = t
        self.transport.write(self._commands(t))
        self._set_deadline(t, now)
        return 0

    cdef int _advance(self, double now) except -1:
        """All that came was consumed."""
        cdef Transaction t = self.current
        if t is None:
            return self._start(now)
        if t.answered < t.sent:
            if self.answered:
                self._set_deadline(t, now)
            return 0
        if t.mail_refused or (t.answered >= t.data_step() and not t.accepted and not t.bare_dot):
            self._finish(t)  # nobody to send the contents to
            return self._advance(now)
        if t.answered > t.data_step():
            return self._send_content(t, now)
        self.transport.write(self._commands(t))
        self._set_deadline(t, now)
        return 0

    cdef int _set_deadline(self, Transaction t, double now) except -1:
        cdef double limit
        if t.answered > t.data_step():
            limit = self.data_done_timeout
        elif t.answered == t.data_step():
            limit = self.data_init_timeout
        elif t.answered >= RCPT_STEP:
            limit = self.rcpt_timeout
        elif t.answered == MAIL_STEP:
            limit = self.mail_timeout
        else:
            limit = self.rset_timeout
        self.deadline = now + limit
        return 0

    cdef Transaction _take(self, double now):
        """The next transaction that needs the network."""
        cdef Transaction t
        while True:
            if self.held:
                t = self.held.pop(0)
            elif self._is_spent(now):
                self.retired = True
                return None
            else:
                delivery = self.queue.take()
                if delivery is None:
                    return None
                t = Transaction(delivery)
            if self._prepare(t, now):
                return t

    cdef bint _is_spent(self, double now) except -1:
        """Reused by time, and by count where that is set (CONNECTION_CACHE_README)."""
        if self.single or self.unfinished:
            return True
        if self.transactions and now - self.opened >= self.reuse_time:
            return True
        return 0 < self.reuse_count <= self.transactions

    cdef bint _prepare(self, Transaction t, double now) except -1:
        """Ready to be sent? False: it has its verdicts already."""
        cdef Delivery delivery = t.delivery
        if delivery.started == 0.0:
            delivery.started = self.clock()
        t.todo = list(range(len(delivery.recipients))) if t.kept is None else t.kept
        for i in t.todo:
            t.outcomes[i] = None
        t.kept = None
        t.count = len(t.todo)
        t.began = now
        t.accepted = 0
        t.mail_accepted = t.mail_refused = t.content_sent = t.writing = t.bare_dot = False
        t.sent = t.answered = RSET_STEP if self.needs_reset else MAIL_STEP
        if self._refuse_here(t) or not self._load(t):
            self.report(delivery, t.outcomes)
            return False
        self.transactions += 1
        self.needs_reset = False
        t.position = self.transactions
        t.sessions += 1
        return True

    cdef bint _load(self, Transaction t) except -1:
        """Contents are read before MAIL: after 354 there would be no way back."""
        cdef QueuedMessage message = t.delivery.message
        try:
            content = message.content if message.content is not None else message.load()
        except Exception as error:  # the disk, or a record that does not check: environment, so defer and say so
            self.agent.log(message.queue_id + b": warning: cannot read contents: " + printable(str(error).encode()))
            self._verdict(t, -1, DEFERRED, b"4.3.0", b"queue file read error", b"")
            return False
        cdef int limit = self.settings.smtp_line_length_limit
        if message.envelope.flags & LONG_LINES and limit > 1:
            t.content = [fold_lines(content, limit)]
        else:
            t.content = list(content)
        return True

    cdef bint _refuse_here(self, Transaction t) except -1:
        """What the server's EHLO reply says that it will not take (RFC 1870, 6152, 6531)."""
        cdef bytes address
        cdef Envelope envelope = t.delivery.message.envelope
        cdef int flags = envelope.flags
        if self.size_limit and envelope.size > self.size_limit:
            reason = b"message size %d exceeds size limit %d of server %s" % (
                envelope.size, self.size_limit, self.name)
            self._verdict(t, -1, BOUNCED, b"5.3.4", reason, b"")
            return True
        if flags & EIGHT_BIT_BODY and not self.features.eight_bit_mime \
                and not self.settings.disable_mime_output_conversion:
            reason = b"8BITMIME is required, but was not offered by host " + self.name
            self._verdict(t, -1, BOUNCED, b"5.6.3", reason, b"")
            return True
        if flags & SMTPUTF8 and not self.features.smtputf8:
            needed = flags & EIGHT_BIT_HEADER or not (<bytes>envelope.sender).isascii()
            for address in t.delivery.addresses:
                needed = needed or not address.isascii()
            if needed:
                reason = b"SMTPUTF8 is required, but was not offered by host " + self.name
                self._verdict(t, -1, BOUNCED, b"5.6.7", reason, b"")
                return True
        return False

    cdef int _send_content(self, Transaction t, double now) except -1:
        """354 came: contents and dot; when they are small, with the next envelope in the same write."""
        cdef list parts
        cdef Py_ssize_t size = 0
        cdef Transaction next_one
        if t.bare_dot:
            self.transport.write(DOT)
            t.sent += 1
            self.dot_sent = now
            self._set_deadline(t, now)
            return 0
        for part in t.content:
            size += len(part)
        if size > SMALL_CONTENT:
            t.writing = True
            self.chunks = _chunks(t.content)
            self.deadline = now + self.data_xfer_timeout
            return self._write_chunks(now)
        parts = t.content
        parts.append(DOT)
        t.content = None
        t.content_sent = True
        t.sent += 1
        if self.pipelining and self.last_latency < PREFETCH_LATENCY:
            next_one = self._take(now)
            if next_one is not None:
                self.following = next_one
                parts.append(self._commands(next_one))
        self.transport.write(b"".join(parts))
        self.dot_sent = now
        self.deadline = now + self.data_done_timeout
        return 0

    cdef int _write_chunks(self, double now) except -1:
        """A large body, as fast as the transport takes it (smtp_data_xfer_timeout, smtp_min_data_rate)."""
        cdef Transaction t = self.current
        cdef double rate = self.settings.smtp_min_data_rate
        for chunk in self.chunks:
            self.transport.write(chunk)
            if not self.alive:
                return 0
            if rate > 0:
                self.deadline = min(self.deadline + len(chunk) / rate, now + self.data_xfer_timeout)
            else:
                self.deadline = now + self.data_xfer_timeout
            if self.paused:
                return 0
        self.chunks = None
        t.writing = False
        t.content = None
        t.content_sent = True
        t.sent += 1
        self.transport.write(DOT)
        self.dot_sent = now
        self.deadline = now + self.data_done_timeout
        return 0

    cdef int _end_run(self) except -1:
        queue = self.queue
        self.queue = None
        self.running = False
        self.deadline = INFINITY
        self.replies.clear()
        self.agent.run_ended(self, queue)
        return 0

    # Commands

    cdef bytes _commands(self, Transaction t):
        """The next command, or with PIPELINING all up to DATA (RFC 2920 3.1)."""
        cdef ByteBuffer out
        buffer_init(&out)
        try:
            while True:
                self._command(t, t.sent, &out)
                t.sent += 1
                if not self.pipelining or t.sent > t.data_step():
                    return buffer_object(&out)
        finally:
            buffer_free(&out)

    cdef int _command(self, Transaction t, Py_ssize_t step, ByteBuffer *out) except -1:
        if step == RSET_STEP:
            append_text(out, b"RSET\r\n")
        elif step == MAIL_STEP:
            mail_command(out, t.delivery.message.envelope, self.features)
        elif step < t.data_step():
            rcpt_command(out, t.delivery, t.todo[step - RCPT_STEP], self.dsn)
        else:
            append_text(out, b"DATA\r\n")
        return 0


def _chunks(list content):
    """Pieces of at most CHUNK bytes, not copied."""
    cdef Py_ssize_t start
    for piece in content:
        view = memoryview(piece)
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]
