"""A queued message in the index: all that is known of it without reading the log. docs/queue-format.md has its states.

Made for a new message by _record.pyx and of a stored one by _envelope.pyx; its state is changed by what Record writes and by what
Replay reads, and by nothing else: both call the same inline methods in _entry.pxd. Invariant: a recipient is
pending, or failed (its notice is due), or neither: it ended.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastrelay._bytes cimport FASTRELAY_DEBUG
from fastrelay.queue._bits cimport set_bit, test_bit, words
from fastrelay.queue._format cimport (
    DELAY_TOLD, EXPANSION_TOLD, FORCED_EXPIRE, MAX_RECIPIENTS, M_EXPANDED, M_FORCED, M_WARNED, S_DONE, S_INCOMING,
)
from fastrelay.queue._format import CorruptRecord, State

cdef tuple _states = (None, State.INCOMING, State.ACTIVE, State.DEFERRED, State.HOLD, State.CORRUPT, State.DONE)

cdef int _live = 0


def live_objects() -> int:
    """Entries that are alive; counted in debug builds only."""
    return _live


cdef list bits_set(const uint64_t *bits, uint32_t count):
    cdef uint32_t i
    return [i for i in range(count) if test_bit(bits, i)]


@cython.final
@cython.freelist(256)
cdef class Entry:
    """See above."""

    def __cinit__(self, uint64_t message_id, uint32_t recipients, double arrival=0.0, uint64_t size=0):
        global _live
        if FASTRELAY_DEBUG:
            _live += 1
        if recipients > MAX_RECIPIENTS:
            raise CorruptRecord("too many recipients")
        self.message_id, self.recipients, self.arrival, self.size = message_id, recipients, arrival, size
        self._state = S_INCOMING
        self.pending, self.failed = &self.one_pending, &self.one_failed
        if recipients > 64:
            self.pending = <uint64_t *>calloc(words(recipients) * 2, 8)
            if self.pending == NULL:
                raise MemoryError
            self.failed = self.pending + words(recipients)
        cdef uint32_t i
        for i in range(recipients):
            set_bit(self.pending, i)

    def __dealloc__(self):
        global _live
        if FASTRELAY_DEBUG:
            _live -= 1
        if self.pending != &self.one_pending:
            free(self.pending)
        if self.notes != &self.one_note:
            free(self.notes)

    def __repr__(self) -> str:
        return f"<Entry {self.message_id:X} {self.state.name} {self.pending_recipients()}>"

    @property
    def state(self):
        return _states[self._state]

    @state.setter
    def state(self, int value):
        if not S_INCOMING <= value <= S_DONE:
            raise ValueError(value)
        self._state = value

    cpdef bint has_ended(self) noexcept:
        return self._state == S_DONE

    @property
    def warned(self) -> bool:
        """Has the sender been told of the delay?"""
        return bool(self.marks & M_WARNED)

    @property
    def owes_expansion(self) -> bool:
        """Is the sender to be told that aliases were expanded?"""
        return bool(self.marks & M_EXPANDED)

    @property
    def forced_expire(self) -> bool:
        """Is it to go back to its sender with its next try?"""
        return bool(self.marks & M_FORCED)

    def changed_by(self, recipients) -> bool:
        """Would it change anything that a notice settles these?"""
        cdef uint32_t i
        for i in recipients:
            if i == DELAY_TOLD:
                if not self.marks & M_WARNED:
                    return True
            elif i == EXPANSION_TOLD:
                if self.marks & M_EXPANDED:
                    return True
            elif i == FORCED_EXPIRE:
                if not self.marks & M_FORCED:
                    return True
            elif i < self.recipients and (test_bit(self.pending, i) or test_bit(self.failed, i)):
                return True
        return False

    def is_pending(self, uint32_t recipient) -> bool:
        return recipient < self.recipients and test_bit(self.pending, recipient)

    def pending_recipients(self) -> list:
        return bits_set(self.pending, self.recipients)

    def failed_recipients(self) -> list:
        """Those that are done, and whose notice is not yet queued: bounced, expired, or sent with a notice due."""
        return bits_set(self.failed, self.recipients)

    def settled(self, recipients=None) -> bool:
        """These failed recipients end (None: all that failed); is the message DONE now?"""
        if recipients is None:
            memset(self.failed, 0, words(self.recipients) * 8)
            self.sent(EXPANSION_TOLD)
        else:
            for i in recipients:
                self.sent(i)
        return self.close()

    def note(self, uint32_t recipient, uint64_t position) -> None:
        """Its last OUTCOME frame is at `position`."""
        self.set_note(recipient, position)

    def note_positions(self) -> dict:
        """Position of a frame -> the recipients whose last outcome it holds."""
        cdef dict found = {}
        cdef uint32_t i
        if self.notes != NULL:
            for i in range(self.recipients):
                if self.notes[i] and (test_bit(self.pending, i) or test_bit(self.failed, i)):
                    found.setdefault(self.notes[i], []).append(i)
        return found

    cdef int set_note(self, uint32_t recipient, uint64_t position) except -1:
        if recipient >= self.recipients:
            return 0
        if self.notes == NULL:
            if self.recipients == 1:
                self.notes = &self.one_note
            else:
                self.notes = <uint64_t *>calloc(self.recipients, 8)
                if self.notes == NULL:
                    raise MemoryError
        self.notes[recipient] = position
        return 0


def entries_in(entries, uint64_t segment) -> list:
    """The entries that begin in this segment."""
    cdef Entry entry
    cdef list found = []
    cdef uint32_t number = <uint32_t>segment
    for entry in entries:
        if entry.segment == number:
            found.append(entry)
    return found
