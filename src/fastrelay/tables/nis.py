"""nis: a map of the Network Information Service, through the system's client library, libnsl.

The key is looked up with its final null byte and without, as sendmail and Postfix do. Without the library
the type is unsupported; on a system that has no NIS domain no key is there, as in Postfix.
"""

from __future__ import annotations

import ctypes

from fastrelay.tables.options import Options
from fastrelay.tables.remote import RemoteTable, ServerProblem
from fastrelay.tables.threads import Threads

NAMES = ("libnsl.so.2", "libnsl.so.3", "libnsl.so.1")
NO_SUCH_KEY = 5  # YPERR_KEY


class NisTable(RemoteTable):
    type = "nis"

    def __init__(self, name: str, how: Options) -> None:
        super().__init__(name, how)
        self._library = load_library()
        self._thread = Threads(1, "nis")
        self._domain: bytes | None = None
        if self._library is None:
            self.problem = "unsupported dictionary type: nis: this system has no NIS client library (libnsl)"
            return
        self._domain = default_domain(self._library)
        if self._domain is None:
            self.warnings = ["NIS domain name not set - NIS lookups disabled"]

    async def fetch(self, key: bytes) -> bytes | None:
        if self._domain is None or b"\0" in key:
            return None
        return await self._thread.run(self._match, key)

    async def close(self) -> None:
        self._thread.close()

    def _match(self, key: bytes) -> bytes | None:
        """In the thread."""
        assert self._library is not None
        value, length = ctypes.c_void_p(), ctypes.c_int()
        for asked in (key + b"\0", key):
            status = self._library.yp_match(
                self._domain,
                self.name.encode(errors="surrogateescape"),
                asked,
                len(asked),
                ctypes.byref(value),
                ctypes.byref(length),
            )
            if status == 0:
                try:
                    return ctypes.string_at(value, length.value).rstrip(b"\0\n")
                finally:
                    _free(value)
            if status != NO_SUCH_KEY:
                raise ServerProblem(self._words(status))
        return None

    def _words(self, status: int) -> str:
        assert self._library is not None
        text = self._library.yperr_string(status)
        return (text or b"NIS error %d" % status).decode(errors="replace")


def load_library() -> ctypes.CDLL | None:
    """libnsl with the types of what is called; None when the system has none."""
    for name in NAMES:
        try:
            library = ctypes.CDLL(name)
            pointer, number = ctypes.c_void_p, ctypes.c_int
            library.yp_match.argtypes = [ctypes.c_char_p] * 3 + [number, pointer, pointer]
            library.yp_get_default_domain.argtypes = [pointer]
            library.yperr_string.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        return library
    return None


def default_domain(library: ctypes.CDLL) -> bytes | None:
    domain = ctypes.c_char_p()
    if library.yp_get_default_domain(ctypes.byref(domain)) != 0:
        return None
    name = domain.value
    return None if name in (None, b"", b"(none)") else name


def _free(value: ctypes.c_void_p) -> None:
    """yp_match gives what its caller is to free."""
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free(value)
