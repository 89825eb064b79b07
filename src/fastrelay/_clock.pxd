"""The system's clocks in seconds as C doubles, for compiled files that ask often: inline. There is no _clock.pyx.

A `.py` whose `.pxd` cimports them imports time's own of the same names when it is not compiled.
"""

cdef extern from *:
    """
    #include <time.h>
    static inline double fastrelay_seconds(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }
    #define fastrelay_monotonic() fastrelay_seconds(CLOCK_MONOTONIC)
    #define fastrelay_time() fastrelay_seconds(CLOCK_REALTIME)
    """
    double monotonic "fastrelay_monotonic" () noexcept nogil
    double time "fastrelay_time" () noexcept nogil
