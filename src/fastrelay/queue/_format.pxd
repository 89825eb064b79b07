from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastrelay.queue._checksum cimport checksum

cdef extern from *:
    """
    #include <stdint.h>
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the queue's format is little-endian"
    #endif
    typedef struct __attribute__((packed)) {
        uint16_t magic; uint8_t type; uint8_t flags; uint32_t length;
        uint64_t sequence; uint64_t message; uint32_t payload_crc; uint32_t header_crc;
    } fr_header;
    typedef struct __attribute__((packed)) {
        uint64_t number; uint64_t first; uint32_t bytes; uint32_t frames;
        uint64_t durable_segment; uint64_t durable_offset; double time;
    } fr_batch;
    typedef struct __attribute__((packed)) { uint64_t bytes; uint32_t frames; uint32_t crc; } fr_commit;
    typedef struct __attribute__((packed)) { double next_try; uint32_t tries; uint32_t state; } fr_state;
    typedef struct __attribute__((packed)) {
        uint8_t version; uint8_t state; uint16_t marks; uint32_t tries; uint32_t recipients; uint32_t flags;
        double arrival; double next_try; uint64_t size; uint64_t notice_of;
    } fr_envelope;
    typedef struct __attribute__((packed)) {
        uint32_t recipient; uint8_t status; uint8_t zero[3]; double setup; double transmission; uint16_t length[6];
    } fr_outcome;
    """
    ctypedef struct fr_header:
        uint16_t magic
        uint8_t type
        uint8_t flags
        uint32_t length
        uint64_t sequence
        uint64_t message
        uint32_t payload_crc
        uint32_t header_crc
    ctypedef struct fr_batch:
        uint64_t number
        uint64_t first
        uint32_t bytes
        uint32_t frames
        uint64_t durable_segment
        uint64_t durable_offset
        double time
    ctypedef struct fr_commit:
        uint64_t bytes
        uint32_t frames
        uint32_t crc
    ctypedef struct fr_state:
        double next_try
        uint32_t tries
        uint32_t state
    ctypedef struct fr_envelope:
        uint8_t version
        uint8_t state
        uint16_t marks
        uint32_t tries
        uint32_t recipients
        uint32_t flags
        double arrival
        double next_try
        uint64_t size
        uint64_t notice_of
    ctypedef struct fr_outcome:
        uint32_t recipient
        uint8_t status
        double setup
        double transmission
        uint16_t length[6]

cpdef enum:  # Python sees these too
    MAGIC = 0x5246
    HEADER = 32
    BLOCK = 4096
    BATCH_SIZE = 80  # header and payload of a BATCH frame
    MAX_PAYLOAD = 1 << 20
    MAX_BATCH = 4 << 20
    VERSION = 1

cpdef enum:  # types of frames
    BATCH = 1
    ENVELOPE = 2
    DATA = 3
    COMMIT = 4
    DONE = 5
    OUTCOME = 6
    SETTLED = 7
    STATE = 8
    REMOVED = 9
    CORRUPT = 10

cpdef enum:  # stand in a list of recipients for the marks: of what a notice settles, of what an operator does
    DELAY_TOLD = 0x7FFFFFFF
    EXPANSION_TOLD = 0x7FFFFFFE
    FORCED_EXPIRE = 0x7FFFFFFD

cdef enum:
    MAX_RECIPIENTS = 500000
    RELOCATED = 1  # flag of OUTCOME: belongs to the copy that is being read, not to the entry
    MORE = 2  # flag of ENVELOPE: continues the frame before

cdef enum:  # what is noted of a message beside its recipients' states
    M_WARNED = 1  # its sender has been told of the delay
    M_EXPANDED = 2  # its sender is to be told that aliases were expanded
    M_FORCED = 4  # it expires with its next try (postsuper -e)

cdef enum:  # the values of State
    S_INCOMING = 1
    S_ACTIVE = 2
    S_DEFERRED = 3
    S_HOLD = 4
    S_CORRUPT = 5
    S_DONE = 6

cdef enum:  # the values of borders.Status
    R_SENT = 1
    R_DEFERRED = 2


cdef inline uint32_t header_crc(const fr_header *h, uint64_t salt) noexcept nogil:
    return checksum(checksum(0, &salt, 8), h, 28)


cdef inline bint header_ok(const fr_header *h, uint64_t salt) noexcept nogil:
    return h.magic == MAGIC and h.length <= MAX_PAYLOAD and h.header_crc == header_crc(h, salt)
