"""The slow obvious twin of tables/_regex.pyx: the C library's regcomp() and regexec() through ctypes."""

import ctypes

EXTENDED, IGNORE_CASE, NEWLINE = 1, 2, 4
_libc = ctypes.CDLL(None)


class _Match(ctypes.Structure):
    _fields_ = (("start", ctypes.c_int), ("end", ctypes.c_int))


def groups(pattern: bytes, flags: int, subject: bytes, highest: int) -> list[bytes] | None:
    """As Pattern(...).groups(...); ValueError when the pattern does not compile."""
    compiled = ctypes.create_string_buffer(256)
    if _libc.regcomp(compiled, pattern, flags) != 0:
        raise ValueError("regcomp")
    try:
        found = (_Match * (highest + 1))()
        if _libc.regexec(compiled, subject, ctypes.c_size_t(highest + 1), found, 0) != 0:
            return None
        return [subject[m.start : m.end] if m.start >= 0 else b"" for m in found]
    finally:
        _libc.regfree(compiled)
