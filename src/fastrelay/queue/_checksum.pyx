"""CRC32C (RFC 3720 B.4) of what the queue stores: by eight tables, where the processor has no instruction for it.

Called by the rest of the stored form and by segment.py. The way with the instruction is inline in _checksum.pxd:
most of what is summed is a header of known length. Invariant: both ways give the same; their twin is
tests/reference/record_reference.py.
"""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static uint32_t fr_table[8][256];
    static void fr_prepare(void) {
        for (int i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
            fr_table[0][i] = c;
        }
        for (int i = 0; i < 256; i++)
            for (int t = 1; t < 8; t++)
                fr_table[t][i] = (fr_table[t - 1][i] >> 8) ^ fr_table[0][fr_table[t - 1][i] & 255];
    }
    static uint32_t fr_crc_table(uint32_t c, const unsigned char *p, size_t n) {
        c = ~c;
        while (n >= 8) {
            uint64_t w; memcpy(&w, p, 8); w ^= c;
            c = fr_table[7][w & 255] ^ fr_table[6][w >> 8 & 255] ^ fr_table[5][w >> 16 & 255] ^ fr_table[4][w >> 24 & 255]
              ^ fr_table[3][w >> 32 & 255] ^ fr_table[2][w >> 40 & 255] ^ fr_table[1][w >> 48 & 255] ^ fr_table[0][w >> 56];
            p += 8; n -= 8;
        }
        while (n--) c = (c >> 8) ^ fr_table[0][(c ^ *p++) & 255];
        return ~c;
    }
    """
    void fr_prepare() noexcept nogil
    uint32_t fr_crc_table(uint32_t crc, const unsigned char *data, size_t size) noexcept nogil

fr_prepare()


cdef uint32_t checksum_by_table(uint32_t crc, const void *data, size_t size) noexcept nogil:
    return fr_crc_table(crc, <const unsigned char *>data, size)


def crc32c(const unsigned char[::1] data, uint32_t crc=0, bint table=False) -> int:
    """CRC32C (RFC 3720 B.4); `table` asks for the one without the instruction."""
    if data.shape[0] == 0:
        return crc
    if table:
        return checksum_by_table(crc, &data[0], data.shape[0])
    return checksum(crc, &data[0], data.shape[0])
