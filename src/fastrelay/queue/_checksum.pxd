from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if defined(__x86_64__)
    #include <nmmintrin.h>
    __attribute__((target("sse4.2"), unused))
    static uint32_t fr_crc_instruction(uint32_t crc, const void *data, size_t n) {
        const unsigned char *p = data;
        uint64_t c = (uint32_t)~crc, w;
        while (n >= 8) { memcpy(&w, p, 8); c = _mm_crc32_u64(c, w); p += 8; n -= 8; }
        while (n--) c = _mm_crc32_u8((uint32_t)c, *p++);
        return ~(uint32_t)c;
    }
    #define fr_has_instruction() (__builtin_cpu_supports("sse4.2") != 0)
    #else
    #define fr_crc_instruction(crc, data, n) (crc)
    #define fr_has_instruction() 0
    #endif
    """
    uint32_t fr_crc_instruction(uint32_t crc, const void *data, size_t size) noexcept nogil
    bint fr_has_instruction() noexcept nogil


cdef uint32_t checksum_by_table(uint32_t crc, const void *data, size_t size) noexcept nogil


cdef inline uint32_t checksum(uint32_t crc, const void *data, size_t size) noexcept nogil:
    return fr_crc_instruction(crc, data, size) if fr_has_instruction() else checksum_by_table(crc, data, size)
