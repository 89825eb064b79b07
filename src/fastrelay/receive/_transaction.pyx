"""One mail transaction: what MAIL and RCPT said, the contents, and the message that is made of them.

ReceiveSession fills it in and resets it; the checks of Stage.CLEANUP and Stage.CONTENT (smtpd/cleanup.py,
smtpd/content.py) say here what is to be stored and not what the client said. `who` is received.Who.
"""

from fastrelay.borders cimport Envelope, Recipient
from fastrelay.cleanup._address_header cimport AddressHeaders
from fastrelay.cleanup._contents cimport ContentScanner
from fastrelay.cleanup._recipients cimport unique_recipients
from fastrelay.cleanup.received cimport Clockface
from fastrelay.receive._rules cimport SessionRules
from fastrelay.rewrite._address cimport Address

cdef Address NULL_SENDER = Address(b"")


cdef class Transaction:
    cdef int begin(self, SessionRules rules) except -1:
        self.rules = rules
        self.scanner = ContentScanner.__new__(ContentScanner)
        self.scanner.size_limit = rules.size_limit
        self.recipients = []
        self.reset()
        return 0

    cdef int expect(self, double now) except -1:
        """Somebody is to get the message: it has a name, and is coming until it is handed over or reset."""
        self.message_id = self.rules.new_id(now)
        self.queue_id = self.rules.queue_name(self.message_id)
        self.coming = True
        self.rules.coming += 1
        return 0

    cdef void arrive(self):
        if self.coming:
            self.coming = False
            self.rules.coming -= 1

    cdef void reset(self):
        self.arrive()
        self.sender = None
        if self.recipients:  # the envelope may have it
            self.recipients = []
        self.flags = 0
        self.envid = b""
        self.size = 0
        self.message_id = None
        self.queue_id = b""
        self.mapped_sender = None
        self.mapped_recipients = None
        self.expanded = ()
        self.contents = self._body = None
        self.content_filter = b""
        self.hold = self.discard = False
        self.overshoot = 0
        self.chunked = self.chunk_failed = False
        self.chunk_bytes = 0
        self.scanner.reset()

    # What the checks say ----------------------------------------------------------------------------

    def map_envelope(self, Address sender not None, list recipients not None, tuple expanded=()):
        """For the check of Stage.CLEANUP: the envelope to be stored. `expanded`: see Envelope."""
        self.mapped_sender, self.mapped_recipients, self.expanded = sender, recipients, expanded

    cpdef bytes body(self):
        """What follows the header, in wire form; the check of Stage.CONTENT may ask for it first."""
        if self._body is None:
            self._body = self.scanner.take_body()
        return self._body

    def set_contents(self, bytes header not None, bytes body not None, list message_ids not None, int hops):
        """For the check of Stage.CONTENT: what is to be stored."""
        self.contents, self.hops = (header, body, message_ids), hops

    @property
    def stored_recipients(self):
        """The recipients as they are to be stored."""
        return self.recipients if self.mapped_recipients is None else self.mapped_recipients

    def set_recipients(self, list recipients not None):
        """For the check of Stage.CONTENT: who gets the message."""
        self.mapped_sender, self.mapped_recipients = self.stored_sender(), recipients

    def set_fate(self, bint hold, bint discard, bytes content_filter):
        """For the check of Stage.CONTENT: where the message goes. `content_filter` None: through none at all."""
        self.hold, self.discard, self.content_filter = hold, discard, content_filter

    # The message ------------------------------------------------------------------------------------

    cdef Address stored_sender(self):
        return self.sender if self.mapped_sender is None else self.mapped_sender

    cdef void hand_over(self):
        """The contents are somebody else's now."""
        self._body = self.contents = None
        self.arrive()

    cdef int make_contents(self, bint is_local, tuple who, double now) except -1:
        """What is stored when no check has made it."""
        header = self.clean_header(None, is_local, who, now)
        self.hops, self.contents = self.rules.cleaner.hops, (header, self.body(), self.rules.cleaner.message_ids)
        return 0

    cdef bytes clean_header(self, inspector, bint is_local, tuple who, double now):
        """The header as it is stored, our Received first; its ids and hops are in `rules.cleaner`."""
        cdef SessionRules rules = self.rules
        cdef AddressHeaders addresses = rules.local_headers if is_local else rules.remote_headers
        cdef bint add_missing = rules.always_add_headers or addresses is not None or is_local
        if self.mapped_sender is None and self._is_bounce_sender():
            self.mapped_sender, self.mapped_recipients = NULL_SENDER, self.recipients
        cdef bytes received = self._received(who, now)
        cdef Clockface clock = rules.received.clock  # which _received() has set
        return rules.cleaner.clean(
            self.scanner, received, addresses, inspector, add_missing, self.stored_sender().external, self.queue_id,
            clock.date, clock.stamp)

    cdef bytes _received(self, tuple who, double now):
        """Our trace header (RFC 5321 4.4)."""
        cdef bytes recipient = (<Recipient>self.recipients[0]).address if len(self.recipients) == 1 else b""
        return self.rules.received.make(who, self.queue_id, recipient, now)

    cdef bint _is_bounce_sender(self):
        """MAILER-DAEMON of ours is how software that knows no <> answers a bounce (cleanup_addr.c)."""
        return len(self.sender.local) == 13 and self.sender.external.lower() == self.rules.bounce_sender

    cdef Envelope make_envelope(self, Py_ssize_t size, list message_ids, tuple who, double now):
        cdef list recipients = unique_recipients(self.stored_recipients, self.rules.duplicate_limit)
        cdef bytes content_filter = b""
        if self.content_filter is not None:
            content_filter = self.content_filter or self.rules.content_filter
        cdef Envelope envelope = Envelope.__new__(Envelope)  # each field is set: to parse so many arguments costs more
        envelope.sender, envelope.recipients, envelope.expanded = self.stored_sender().external, recipients, self.expanded
        envelope.arrival, envelope.size, envelope.flags = now, size, self.flags | self.scanner.flags
        envelope.envid, envelope.message_id = self.envid, first_id(message_ids)
        envelope.helo, envelope.client_name, envelope.client_address, envelope.protocol = who
        envelope.notice_of, envelope.content_filter, envelope.hold = 0, content_filter, self.hold
        return envelope


cdef bytes first_id(list found):
    """The first that is not Resent-."""
    for resent, value in found:
        if not resent:
            return value
    return b""
