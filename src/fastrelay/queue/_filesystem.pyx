"""What kind of file system a directory is on; Python's statvfs does not tell. Called by files.py alone."""

cdef extern from *:
    """
    #include <sys/vfs.h>
    static long fr_filesystem(int fd) { struct statfs s; return fstatfs(fd, &s) ? -1 : (long)s.f_type; }
    """
    long fr_filesystem(int fd) noexcept nogil


def filesystem_type(int fd) -> int:
    """statfs(2)'s f_type, -1 when it cannot be told."""
    return fr_filesystem(fd)
