"""The codec of ENVELOPE: an envelope, its recipients and what is left of them. docs/queue-format.md has the fields.

Called by _record.pyx to write, by _replay.pyx (read_entry, read_settles), spool.py and compact.py to read. Invariant: what was
read from a disk is checked against its own end before it is used; a length that does not fit is CorruptRecord, a
field that must be understood and is not is NewerFormat.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastrelay._bytes cimport ByteBuffer, buffer_append, buffer_free, buffer_init, buffer_reserve, bytes_ptr
from fastrelay.borders cimport Envelope, Recipient
from fastrelay.queue._bits cimport clear_beyond, words
from fastrelay.queue._entry cimport Entry
from fastrelay.queue._format cimport (
    MAX_RECIPIENTS, M_EXPANDED, S_ACTIVE, S_DEFERRED, S_DONE, S_INCOMING, VERSION, fr_envelope,
)
from fastrelay.queue._format import CorruptRecord, NewerFormat

cdef enum:
    MAX_FIELD = 65535

cdef enum:
    TAG_PENDING = 1
    TAG_FAILED = 2
    TAG_SETTLES = 3
    TAG_SENDER = 16
    TAG_ENVID = 17
    TAG_MESSAGE_ID = 18
    TAG_CLIENT_NAME = 19
    TAG_CLIENT_ADDRESS = 20
    TAG_HELO = 21
    TAG_PROTOCOL = 22
    TAG_FILTER = 23
    TAG_EXPANDED = 24
    TAG_RECIPIENT = 32
    TAG_OPTIONAL = 128


cdef int put_field(ByteBuffer *b, uint8_t tag, bytes value) except -1:
    cdef uint32_t size = <uint32_t>len(value)
    if len(value) > MAX_FIELD:
        raise ValueError(f"field {tag} of {len(value)} bytes")
    if size:
        buffer_append(b, &tag, 1)
        buffer_append(b, <bytes_ptr>&size, 4)
        buffer_append(b, <bytes_ptr>PyBytes_AS_STRING(value), size)
    return 0


cdef int put_bits(ByteBuffer *b, uint8_t tag, const uint64_t *bits, uint32_t count) except -1:
    cdef uint32_t size = <uint32_t>(words(count) * 8)
    buffer_append(b, &tag, 1)
    buffer_append(b, <bytes_ptr>&size, 4)
    buffer_append(b, <bytes_ptr>bits, size)
    return 0


cdef int put_recipient(ByteBuffer *b, Recipient recipient, uint8_t tag) except -1:
    cdef bytes address = recipient.address, original = recipient.original, orcpt = recipient.orcpt
    cdef Py_ssize_t total = len(address) + len(original) + len(orcpt)
    cdef uint8_t *at
    cdef uint16_t size
    if len(address) > MAX_FIELD or len(original) > MAX_FIELD or len(orcpt) > MAX_FIELD:
        raise ValueError(f"recipient of {total} bytes")
    buffer_reserve(b, 12 + total)
    at = b.data + b.size
    at[0] = tag
    cdef uint32_t length = <uint32_t>(7 + total)
    memcpy(at + 1, &length, 4)
    at[5] = <uint8_t>recipient.notify
    size = <uint16_t>len(address)
    memcpy(at + 6, &size, 2)
    size = <uint16_t>len(original)
    memcpy(at + 8, &size, 2)
    size = <uint16_t>len(orcpt)
    memcpy(at + 10, &size, 2)
    at += 12
    memcpy(at, PyBytes_AS_STRING(address), len(address))
    at += len(address)
    memcpy(at, PyBytes_AS_STRING(original), len(original))
    at += len(original)
    memcpy(at, PyBytes_AS_STRING(orcpt), len(orcpt))
    b.size += 12 + total
    return 0


cdef int put_envelope(ByteBuffer *b, Envelope envelope, Entry entry, settles, uint8_t state) except -1:
    """`entry` gives the whole state of a copy; None: a new message."""
    cdef fr_envelope fixed
    cdef list recipients = envelope.recipients
    cdef uint8_t tag = TAG_SETTLES
    cdef uint32_t size, index
    if len(recipients) > MAX_RECIPIENTS:
        raise ValueError(f"{len(recipients)} recipients")
    memset(&fixed, 0, sizeof(fixed))
    fixed.version, fixed.state = VERSION, state
    fixed.recipients, fixed.flags = <uint32_t>len(recipients), envelope.flags
    fixed.arrival, fixed.size, fixed.notice_of = envelope.arrival, envelope.size, envelope.notice_of
    fixed.marks = M_EXPANDED if envelope.expanded else 0
    if entry is not None:
        fixed.state, fixed.tries, fixed.next_try = entry._state, entry.tries, entry.next_try
        fixed.marks = entry.marks
    buffer_append(b, <bytes_ptr>&fixed, sizeof(fixed))
    if entry is not None:
        put_bits(b, TAG_PENDING, entry.pending, entry.recipients)
        put_bits(b, TAG_FAILED, entry.failed, entry.recipients)
    if settles:
        size = <uint32_t>(4 * len(settles))
        buffer_append(b, &tag, 1)
        buffer_append(b, <bytes_ptr>&size, 4)
        for index in settles:
            buffer_append(b, <bytes_ptr>&index, 4)
    put_field(b, TAG_SENDER, envelope.sender)
    put_field(b, TAG_ENVID, envelope.envid)
    put_field(b, TAG_MESSAGE_ID, envelope.message_id)
    put_field(b, TAG_CLIENT_NAME, envelope.client_name)
    put_field(b, TAG_CLIENT_ADDRESS, envelope.client_address)
    put_field(b, TAG_HELO, envelope.helo)
    put_field(b, TAG_PROTOCOL, envelope.protocol)
    put_field(b, TAG_FILTER, envelope.content_filter)
    for recipient in recipients:
        put_recipient(b, recipient, TAG_RECIPIENT)
    for recipient in envelope.expanded:
        put_recipient(b, recipient, TAG_EXPANDED)
    return 0


def encode_envelope(envelope, Entry entry=None, settles=()) -> bytes:
    """The payload of ENVELOPE. ValueError: more than the format holds."""
    cdef ByteBuffer b
    buffer_init(&b)
    try:
        put_envelope(&b, envelope, entry, settles, S_INCOMING)
        return (<char *>b.data)[:b.size]
    finally:
        buffer_free(&b)


cdef object read_recipient(const uint8_t *at, Py_ssize_t size):
    cdef uint16_t a, o, c
    if size < 7:
        raise CorruptRecord("short recipient")
    memcpy(&a, at + 1, 2)
    memcpy(&o, at + 3, 2)
    memcpy(&c, at + 5, 2)
    if 7 + <Py_ssize_t>a + o + c != size:
        raise CorruptRecord("a recipient's lengths")
    return Recipient(
        (<const char *>at)[7:7 + a], (<const char *>at)[7 + a:7 + a + o], (<const char *>at)[7 + a + o:7 + a + o + c], at[0]
    )


cdef object read_indices(const uint8_t *at, Py_ssize_t size):
    cdef uint32_t i
    cdef Py_ssize_t k
    cdef list found = []
    if size & 3:
        raise CorruptRecord("a list of recipients")
    for k in range(size >> 2):
        memcpy(&i, at + 4 * k, 4)
        found.append(i)
    return found


cdef int read_fixed(fr_envelope *fixed, const uint8_t *data, Py_ssize_t size) except -1:
    if size < <Py_ssize_t>sizeof(fr_envelope):
        raise CorruptRecord("short envelope")
    memcpy(fixed, data, sizeof(fr_envelope))
    if fixed.version != VERSION:
        raise NewerFormat(f"envelope of version {fixed.version}")
    if fixed.recipients > MAX_RECIPIENTS or not S_INCOMING <= fixed.state <= S_DONE:
        raise CorruptRecord("an envelope's fixed part")
    return 0


cdef Py_ssize_t next_field(const uint8_t *data, Py_ssize_t size, Py_ssize_t pos, uint32_t *length) except -1:
    """The position of the field's bytes, its length checked against the end."""
    if size - pos < 5:
        raise CorruptRecord("short field")
    memcpy(length, data + pos + 1, 4)
    if <Py_ssize_t>length[0] > size - pos - 5:
        raise CorruptRecord("a field's length")
    return pos + 5


def decode_envelope(bytes data) -> Envelope:
    """What encode_envelope was given. CorruptRecord, NewerFormat."""
    cdef const uint8_t *at = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = len(data), pos = sizeof(fr_envelope)
    cdef fr_envelope fixed
    cdef uint32_t length = 0
    cdef uint8_t tag
    cdef list recipients = [], expanded = []
    cdef dict fields = {}
    read_fixed(&fixed, at, size)
    while pos < size:
        tag = at[pos]
        pos = next_field(at, size, pos, &length)
        if tag == TAG_RECIPIENT:
            recipients.append(read_recipient(at + pos, length))
        elif tag == TAG_EXPANDED:
            expanded.append(read_recipient(at + pos, length))
        elif TAG_SENDER <= tag <= TAG_FILTER:
            fields[tag] = (<const char *>at)[pos:pos + length]
        elif tag > TAG_SETTLES and tag < TAG_OPTIONAL:
            raise NewerFormat(f"envelope field {tag}")
        pos += length
    if <uint32_t>len(recipients) != fixed.recipients:
        raise CorruptRecord("number of recipients")
    get = fields.get
    return Envelope(
        sender=get(TAG_SENDER, b""), recipients=recipients, arrival=fixed.arrival, size=fixed.size, flags=fixed.flags,
        envid=get(TAG_ENVID, b""), message_id=get(TAG_MESSAGE_ID, b""), client_name=get(TAG_CLIENT_NAME, b""),
        client_address=get(TAG_CLIENT_ADDRESS, b""), helo=get(TAG_HELO, b""), protocol=get(TAG_PROTOCOL, b""),
        notice_of=fixed.notice_of, content_filter=get(TAG_FILTER, b""), expanded=tuple(expanded),
    )


cdef Entry read_entry(uint64_t message, const uint8_t *data, Py_ssize_t size):
    """The entry that an ENVELOPE's first frame describes."""
    cdef fr_envelope fixed
    cdef Entry entry
    cdef Py_ssize_t pos = sizeof(fr_envelope)
    cdef uint32_t length = 0
    cdef uint8_t tag
    read_fixed(&fixed, data, size)
    entry = Entry(message, fixed.recipients, fixed.arrival, fixed.size)
    entry.tries, entry.next_try, entry.marks = fixed.tries, fixed.next_try, <uint8_t>fixed.marks
    entry._state = fixed.state if fixed.state != S_ACTIVE else (S_DEFERRED if fixed.tries else S_INCOMING)
    while pos < size and data[pos] <= TAG_FAILED:
        tag = data[pos]
        pos = next_field(data, size, pos, &length)
        if <Py_ssize_t>length != words(fixed.recipients) * 8:
            raise CorruptRecord("a bitmap's length")
        memcpy(entry.pending if tag == TAG_PENDING else entry.failed, data + pos, length)
        pos += length
    clear_beyond(entry.pending, fixed.recipients)
    clear_beyond(entry.failed, fixed.recipients)
    return entry


cdef object read_settles(const uint8_t *data, Py_ssize_t size):
    cdef Py_ssize_t pos = sizeof(fr_envelope)
    cdef uint32_t length = 0
    cdef uint8_t tag
    while pos < size and data[pos] <= TAG_SETTLES:
        tag = data[pos]
        pos = next_field(data, size, pos, &length)
        if tag == TAG_SETTLES:
            return read_indices(data + pos, length)
        pos += length
    return []
