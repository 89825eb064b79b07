cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastrelay.queue._bits cimport clear_bit, is_empty, set_bit, test_bit, words
from fastrelay.queue._format cimport (
    DELAY_TOLD, EXPANSION_TOLD, FORCED_EXPIRE, M_EXPANDED, M_FORCED, M_WARNED, S_DONE, S_INCOMING,
)


@cython.final
cdef class Entry:
    cdef readonly uint64_t message_id
    cdef readonly uint64_t size
    cdef readonly double arrival
    cdef public double next_try
    cdef readonly uint32_t tries
    cdef readonly uint32_t recipients
    cdef public uint32_t segment  # number, low 32 bits suffice for 2**58 bytes
    cdef public uint32_t offset
    cdef public uint64_t stored  # bytes of the message's frames
    cdef uint8_t _state
    cdef uint8_t marks
    cdef uint64_t *pending
    cdef uint64_t *failed
    cdef uint64_t *notes  # a recipient's last OUTCOME frame: segment << 32 | offset
    cdef uint64_t one_pending
    cdef uint64_t one_failed
    cdef uint64_t one_note

    cpdef bint has_ended(self) noexcept
    cdef int set_note(self, uint32_t recipient, uint64_t position) except -1

    cdef inline void sent(self, uint32_t recipient) noexcept:
        if recipient < self.recipients:
            clear_bit(self.pending, recipient)
            clear_bit(self.failed, recipient)
        elif recipient == DELAY_TOLD:
            self.marks |= M_WARNED
        elif recipient == EXPANSION_TOLD:
            self.marks &= ~M_EXPANDED
        elif recipient == FORCED_EXPIRE:
            self.marks |= M_FORCED

    cdef inline void by_hand(self, uint8_t state) noexcept:
        """What is requeued is as new."""
        self._state = state
        if state == S_INCOMING:
            self.marks &= ~M_FORCED

    cdef inline void fail(self, uint32_t recipient) noexcept:
        if recipient < self.recipients and test_bit(self.pending, recipient):
            clear_bit(self.pending, recipient)
            set_bit(self.failed, recipient)

    cdef inline void finish(self) noexcept:
        memset(self.pending, 0, words(self.recipients) * 8)
        memset(self.failed, 0, words(self.recipients) * 8)
        self.marks = 0
        self._state = S_DONE

    cdef inline bint close(self) noexcept:
        """DONE when nothing is pending or failed, and no notice is due."""
        if (
            self._state != S_DONE and not self.marks & M_EXPANDED
            and is_empty(self.pending, self.recipients) and is_empty(self.failed, self.recipients)
        ):
            self._state = S_DONE
        return self._state == S_DONE
