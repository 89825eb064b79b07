"""One SMTP connection after EHLO: an asyncio Protocol that runs many messages over it (RFC 5321 3.3, RFC 2920).

session.py opens the connection and hands it over by transport.set_protocol(); SmtpAgent gives it queues
with run() and learns in run_ended() that it took no more. Replies come from a ReplyReader and go to the oldest
of at most two Transactions: the next one's commands may leave with the last bytes of the one before.
A reply when nothing is owed means that both sides disagree about where they are: the connection is aborted
and nothing of it counts as success.
Invariant: each delivery taken is reported once, or handed back as unfinished; each run ends once.
"""

from libc.math cimport INFINITY

from fastrelay._bytes cimport FASTRELAY_DEBUG, bytes_ptr
from fastrelay.borders cimport Delivery, QueuedMessage
from fastrelay.delivery._commands cimport LONG_LINES
from fastrelay.delivery._replies cimport NO_REPLY, NOTHING, UNASKED, ReplyReader
from fastrelay.delivery._transaction cimport MAIL_STEP, RCPT_STEP, RSET_STEP, Session, Transaction
from fastrelay.tcp._stream cimport Protocol

from fastrelay.borders import Status
from fastrelay.delivery.smtp_text import fold_lines, printable, reply_dsn

cdef object DEFERRED = Status.DEFERRED

cdef enum:
    SMALL_CONTENT = 65536  # joined with what goes along, in one write
    CHUNK = 131072  # above the transport's high-water mark, so that each write is tried at once

cdef double PREFETCH_LATENCY = 0.5  # a server that takes longer to store a message keeps no second one waiting
cdef bytes DOT = b".\r\n"

cdef int _live = 0


def live_objects():
    """Dialogues alive; counted in a debug build only."""
    return _live


cdef class Dialogue(Protocol):
    cdef readonly object agent, transport, queue
    cdef readonly object peer  # session.Peer
    cdef readonly tuple key
    cdef readonly bint alive, retired
    cdef readonly double opened
    cdef public double deadline
    cdef public double idle_since
    cdef public bint more  # the destination has further servers to try
    cdef public bint single  # made for one delivery's fail-over: take no others
    cdef public list later  # transactions that go on elsewhere after this run
    cdef object settings, report, clock, now, write
    cdef object take, succeeded  # the queue's, while it runs
    cdef Session session
    cdef bytes name
    cdef list held, unfinished
    cdef ReplyReader replies
    cdef Transaction current, following
    cdef bint paused, pipelining, needs_reset, running, quitting, closed
    cdef bint answered  # a whole reply came in this read: only that moves the deadline
    cdef double last_latency, dot_sent, last_reply
    cdef double mail_timeout, rcpt_timeout, data_init_timeout, data_xfer_timeout, data_done_timeout, rset_timeout
    cdef double reuse_time
    cdef int transactions, reuse_count, session_limit, line_length_limit
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
        self.name = peer.name
        self.transport, self.write = transport, transport.write
        self.opened = opened
        self.session = Session(peer, features, settings.disable_mime_output_conversion, self.now() - opened)
        self.pipelining = features.pipelining
        self.mail_timeout = settings.smtp_mail_timeout
        self.rcpt_timeout = settings.smtp_rcpt_timeout
        self.data_init_timeout = settings.smtp_data_init_timeout
        self.data_xfer_timeout = settings.smtp_data_xfer_timeout
        self.data_done_timeout = settings.smtp_data_done_timeout
        self.rset_timeout = settings.smtp_rset_timeout
        self.reuse_time = settings.smtp_connection_reuse_time_limit
        self.reuse_count = settings.smtp_connection_reuse_count_limit
        self.session_limit = settings.smtp_mx_session_limit
        self.line_length_limit = settings.smtp_line_length_limit
        self.deadline = INFINITY
        self.last_latency = INFINITY
        self.alive = True
        self.replies = ReplyReader()

    # What the agent calls

    def run(self, queue, list held=None, list later=None):
        """Deliver `held` transactions, then what the queue gives; agent.run_ended() says when that is over."""
        if self.running or not self.alive:
            raise AssertionError("a dialogue runs for one queue at a time")
        self.queue, self.take, self.succeeded = queue, queue.take, queue.succeeded
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
        self.write(b"QUIT\r\n")
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
        self.answered = True
        if code == 421:
            self._said_goodbye(t, code, text, size)
        elif not t.take_reply(code, text, size, self.last_reply):
            if t.answered == RSET_STEP:
                self._broken(b"4.5.0", b"protocol error in reply from " + self.name + b" while ", b"")
            else:
                self._protocol_error((<const char *>text)[:size])
        elif t.is_over():
            self.last_latency = self.last_reply - self.dot_sent
            self._finish(t)
        return 0

    cdef int _said_goodbye(self, Transaction t, int code, bytes_ptr text, Py_ssize_t size) except -1:
        """421: the server closes the channel, whatever it was asked (RFC 5321 3.8)."""
        if t.answered > t.data_step():
            t.content_sent = False  # it was refused: nothing is sent twice by trying another server
        said = printable((<const char *>text)[:size])
        self._broken(reply_dsn(code, said[4:]), t.said_in_reply(said), None, said)
        return 0

    # The end of a transaction

    cdef int _finish(self, Transaction t) except -1:
        """The server has answered all that it was asked; the next transaction moves up."""
        self.current = self.following
        self.following = None
        t.content = None
        self.needs_reset = t.leaves_mail_open()
        self.succeeded()
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
                t.break_off(dsn, reason, said, self.now())
                queue.failed(t.outcomes[t.todo[0]])
                self._hand_over(t)
        if following is not None:
            self._keep_whole(following)
        self._end_run()
        return 0

    cdef int _keep_whole(self, Transaction t) except -1:
        """An old session that died under a new message: it begins again in another one."""
        if t.reopen():
            return self._keep(t)
        return self._hand_over(t)

    # What to send next

    cdef int _start(self, double now) except -1:
        """Nothing is under way: begin with the next transaction, or end the run."""
        cdef Transaction t = self._take(now)
        if t is None:
            self._end_run()
            return 0
        self.current = t
        self.write(t.commands(self.pipelining))
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
        if t.is_refused():
            self._finish(t)
            return self._advance(now)
        if t.answered > t.data_step():
            return self._send_content(t, now)
        self.write(t.commands(self.pipelining))
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
                delivery = self.take()
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
        t.begin(self.session, now, self.needs_reset)
        if t.refuse_here(now) or not self._load(t):
            self.report(delivery, t.outcomes)
            return False
        self.transactions += 1
        self.needs_reset = False
        t.position = self.transactions
        t.sessions += 1
        t.may_keep = self.more and (self.session_limit <= 0 or t.sessions < self.session_limit)
        return True

    cdef bint _load(self, Transaction t) except -1:
        """Contents are read before MAIL: after 354 there would be no way back."""
        cdef QueuedMessage message = t.delivery.message
        try:
            content = message.content if message.content is not None else message.load()
        except Exception as error:  # the disk, or a record that does not check: environment, so defer and say so
            self.agent.log(message.queue_id + b": warning: cannot read contents: " + printable(str(error).encode()))
            t.verdict(-1, DEFERRED, b"4.3.0", b"queue file read error", b"", self.now())
            return False
        if message.envelope.flags & LONG_LINES and self.line_length_limit > 1:
            t.content = [fold_lines(content, self.line_length_limit)]
        else:
            t.content = list(content)
        return True

    cdef int _send_content(self, Transaction t, double now) except -1:
        """354 came: contents and dot; when they are small, with the next envelope in the same write."""
        cdef list parts
        cdef Py_ssize_t size = 0
        cdef Transaction next_one
        if t.bare_dot:
            self.write(DOT)
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
                parts.append(next_one.commands(self.pipelining))
        self.write(b"".join(parts))
        self.dot_sent = now
        self.deadline = now + self.data_done_timeout
        return 0

    cdef int _write_chunks(self, double now) except -1:
        """A large body, as fast as the transport takes it (smtp_data_xfer_timeout, smtp_min_data_rate)."""
        cdef Transaction t = self.current
        cdef double rate = self.settings.smtp_min_data_rate
        for chunk in self.chunks:
            self.write(chunk)
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
        self.write(DOT)
        self.dot_sent = now
        self.deadline = now + self.data_done_timeout
        return 0

    cdef int _end_run(self) except -1:
        queue = self.queue
        self.queue = self.take = self.succeeded = None
        self.running = False
        self.deadline = INFINITY
        self.replies.clear()
        self.agent.run_ended(self, queue)
        return 0


def _chunks(list content):
    """Pieces of at most CHUNK bytes, not copied."""
    cdef Py_ssize_t start
    for piece in content:
        view = memoryview(piece)
        for start in range(0, len(view), CHUNK):
            yield view[start : start + CHUNK]
