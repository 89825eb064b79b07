"""The codec of OUTCOME: next try, tries, state, and what each recipient's delivery came to. docs/queue-format.md is its text.

Called by _record.pyx to write, by _replay.pyx and reader.py to read. Invariant: every length is checked against what is
left before it is used (CorruptRecord); texts are cut at MAX_TEXT.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from fastrelay._bytes cimport ByteBuffer, buffer_append, buffer_free, buffer_init, bytes_ptr
from fastrelay.borders cimport Outcome
from fastrelay.queue._format cimport R_SENT, S_DEFERRED, fr_outcome, fr_state
from fastrelay.borders import Status
from fastrelay.queue._format import CorruptRecord

cdef enum:
    MAX_TEXT = 4096

cdef tuple _statuses = (None, Status.SENT, Status.DEFERRED, Status.BOUNCED, Status.EXPIRED)


cdef int put_outcome(ByteBuffer *b, Outcome outcome) except -1:
    cdef fr_outcome fixed
    cdef bytes value
    cdef int i = 0
    cdef tuple texts = (
        outcome.dsn, outcome.text, outcome.relay, outcome.remote_mta, outcome.diagnostic, outcome.action,
    )
    memset(&fixed, 0, sizeof(fixed))
    fixed.recipient, fixed.status = outcome.recipient, outcome.status
    fixed.setup, fixed.transmission = outcome.setup_delay, outcome.transmission_delay
    for value in texts:
        fixed.length[i] = <uint16_t>min(len(value), MAX_TEXT)
        i += 1
    buffer_append(b, <bytes_ptr>&fixed, sizeof(fixed))
    i = 0
    for value in texts:
        buffer_append(b, <bytes_ptr>PyBytes_AS_STRING(value), fixed.length[i])
        i += 1
    return 0


cdef Py_ssize_t outcome_size(fr_outcome *fixed, const uint8_t *at, Py_ssize_t left) except -1:
    """Reads the fixed part; the bytes of the whole outcome, checked against what is left."""
    cdef Py_ssize_t size = sizeof(fr_outcome)
    cdef int i
    if left < size:
        raise CorruptRecord("short outcome")
    memcpy(fixed, at, sizeof(fr_outcome))
    for i in range(6):
        size += fixed.length[i]
    if size > left or not 1 <= fixed.status <= 4:
        raise CorruptRecord("an outcome's lengths")
    return size


cdef object read_outcome(const fr_outcome *fixed, const uint8_t *at):
    cdef list texts = []
    cdef int i
    cdef Py_ssize_t pos = sizeof(fr_outcome)
    for i in range(6):
        texts.append((<const char *>at)[pos:pos + fixed.length[i]])
        pos += fixed.length[i]
    return Outcome(
        fixed.recipient, _statuses[fixed.status], texts[0], texts[1], texts[2], fixed.setup, fixed.transmission,
        texts[3], texts[4], texts[5], fixed.status == R_SENT,
    )


def encode_outcomes(outcomes, double next_try=0.0, uint32_t tries=0, uint32_t state=S_DEFERRED) -> bytes:
    """The payload of OUTCOME."""
    cdef ByteBuffer b
    cdef fr_state fixed
    fixed.next_try, fixed.tries, fixed.state = next_try, tries, state
    buffer_init(&b)
    try:
        buffer_append(&b, <bytes_ptr>&fixed, sizeof(fixed))
        for outcome in outcomes:
            put_outcome(&b, outcome)
        return (<char *>b.data)[:b.size]
    finally:
        buffer_free(&b)


def decode_outcomes(bytes data) -> list:
    """The outcomes in an OUTCOME's payload."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = len(data), pos = sizeof(fr_state), step
    cdef fr_outcome fixed
    cdef list found = []
    if size < pos:
        raise CorruptRecord("short OUTCOME")
    while pos < size:
        step = outcome_size(&fixed, at + pos, size - pos)
        found.append(read_outcome(&fixed, at + pos))
        pos += step
    return found
