"""Frames that wait to be written: inline, for _record.pyx and _batch.pyx. There is no _frames.pyx.

Short pieces are copied, long ones referred to: who puts them in keeps their owners alive until all is written.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from fastrelay._bytes cimport ByteBuffer, buffer_append, buffer_free, bytes_ptr
from fastrelay.queue._checksum cimport checksum
from fastrelay.queue._format cimport HEADER, MAGIC, fr_header

cdef enum:
    COPY_BELOW = 1024  # pieces shorter than this are copied: cheaper than an iovec
    FEW_FRAMES = 4  # what a usual message has
    FEW_PIECES = 6

cdef struct Frame:
    Py_ssize_t header  # where in `small`
    uint32_t size
    uint32_t first_piece
    uint32_t pieces
    uint64_t position  # where it was written: segment << 32 | offset

cdef struct Piece:
    const char *outside  # NULL: in `small`
    Py_ssize_t offset
    Py_ssize_t size

cdef struct Frames:
    ByteBuffer small
    Frame *all
    Piece *pieces
    uint32_t count, room, piece_count, piece_room
    uint32_t running_crc, running_length
    uint32_t written  # frames taken into batches so far
    uint32_t taken_pieces
    uint64_t written_bytes
    uint64_t size  # bytes of all frames
    Frame few_frames[FEW_FRAMES]
    Piece few_pieces[FEW_PIECES]


cdef inline void free_frames(Frames *f) noexcept:
    buffer_free(&f.small)
    if f.all != f.few_frames:
        free(f.all)
    if f.pieces != f.few_pieces:
        free(f.pieces)


cdef inline void *grown(void *array, void *few, uint32_t *room, uint32_t few_room, size_t size) except NULL:
    """An array of items of `size` bytes with more room: first its owner's own `few`, then what is allocated."""
    cdef void *more
    if array == NULL:
        room[0] = few_room
        return few
    more = realloc(NULL if array == few else array, 2 * room[0] * size)
    if more == NULL:
        raise MemoryError
    if array == few:
        memcpy(more, few, room[0] * size)
    room[0] *= 2
    return more


cdef inline int open_frame(Frames *f, uint8_t type, uint8_t flags, uint64_t message) except -1:
    cdef fr_header header
    cdef Frame *frame
    if f.count == f.room:
        f.all = <Frame *>grown(f.all, f.few_frames, &f.room, FEW_FRAMES, sizeof(Frame))
    frame = &f.all[f.count]
    frame.header, frame.size, frame.first_piece, frame.pieces = f.small.size, 0, f.piece_count, 0
    frame.position = 0
    f.count += 1
    f.running_crc = f.running_length = 0
    memset(&header, 0, sizeof(header))
    header.magic, header.type, header.flags, header.message = MAGIC, type, flags, message
    return put_inside(f, <bytes_ptr>&header, HEADER)


cdef inline Frame *open_one(Frames *f) noexcept:
    return &f.all[f.count - 1]


cdef inline Piece *new_piece(Frames *f) except NULL:
    cdef Piece *piece
    if f.piece_count == f.piece_room:
        f.pieces = <Piece *>grown(f.pieces, f.few_pieces, &f.piece_room, FEW_PIECES, sizeof(Piece))
    piece = &f.pieces[f.piece_count]
    f.piece_count += 1
    open_one(f).pieces += 1
    return piece


cdef inline int put_inside(Frames *f, bytes_ptr data, Py_ssize_t size) except -1:
    cdef Py_ssize_t at = f.small.size
    buffer_append(&f.small, data, size)
    return took_inside(f, at)


cdef inline int took_inside(Frames *f, Py_ssize_t at) except -1:
    """What was added to `small` from `at` on belongs to the open frame."""
    cdef Py_ssize_t size = f.small.size - at
    cdef Piece *piece
    if open_one(f).pieces and f.pieces[f.piece_count - 1].outside == NULL:
        f.pieces[f.piece_count - 1].size += size
    else:
        piece = new_piece(f)
        piece.outside, piece.offset, piece.size = NULL, at, size
    return 0


cdef inline int put_body(Frames *f, const char *data, Py_ssize_t size) except -1:
    cdef Piece *piece
    f.running_crc = checksum(f.running_crc, data, size)
    f.running_length += <uint32_t>size
    if size < COPY_BELOW:
        return put_inside(f, <bytes_ptr>data, size)
    piece = new_piece(f)
    piece.outside, piece.offset, piece.size = data, 0, size
    return 0


cdef inline void close_frame(Frames *f, uint32_t crc, uint32_t length) noexcept:
    cdef Frame *frame = open_one(f)
    cdef fr_header *header = <fr_header *>(f.small.data + frame.header)
    header.length, header.payload_crc = length, crc
    frame.size = HEADER + length
    f.size += frame.size


cdef inline void close_body(Frames *f) noexcept:
    """Close a frame that put_body filled."""
    close_frame(f, f.running_crc, f.running_length)


cdef inline void close_inside(Frames *f) noexcept:
    """Close a frame whose whole payload is in `small`."""
    cdef Py_ssize_t at = open_one(f).header + HEADER
    cdef uint32_t length = <uint32_t>(f.small.size - at)
    close_frame(f, checksum(0, f.small.data + at, length), length)


cdef inline int put_frame(
    Frames *f, uint8_t type, uint8_t flags, uint64_t message, bytes_ptr data, Py_ssize_t size
) except -1:
    open_frame(f, type, flags, message)
    if size:
        put_inside(f, data, size)
    close_inside(f)
    return 0


cdef inline uint32_t checksum_of_checksums(const Frames *f) noexcept:
    """Over the CRCs of all payloads, as COMMIT has it."""
    cdef uint32_t i, crc = 0
    cdef fr_header *header
    for i in range(f.count):
        header = <fr_header *>(f.small.data + f.all[i].header)
        crc = checksum(crc, &header.payload_crc, 4)
    return crc
