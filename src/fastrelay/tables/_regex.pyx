"""POSIX regular expressions: the C library's own regcomp() and regexec(), as Postfix uses them.

regexp: tables call it (tables/regexp.py). Leftmost-longest is then the library's business, not ours.
Everything runs in the C locale, as Postfix does, whatever the process has set: a byte is a character.
"""

from libc.stdlib cimport free, malloc

from fastrelay._bytes cimport FASTRELAY_DEBUG

cdef extern from "<regex.h>" nogil:
    ctypedef struct regex_t:
        size_t re_nsub
    ctypedef ssize_t regoff_t
    ctypedef struct regmatch_t:
        regoff_t rm_so
        regoff_t rm_eo
    int REG_EXTENDED, REG_ICASE, REG_NEWLINE, REG_NOSUB, REG_NOMATCH
    int regcomp(regex_t *, const char *, int)
    int regexec(const regex_t *, const char *, size_t, regmatch_t *, int)
    size_t regerror(int, const regex_t *, char *, size_t)
    void regfree(regex_t *)

cdef extern from "<locale.h>" nogil:
    ctypedef void *locale_t
    int LC_ALL_MASK
    locale_t newlocale(int, const char *, locale_t)
    locale_t uselocale(locale_t)

EXTENDED = REG_EXTENDED
IGNORE_CASE = REG_ICASE
NEWLINE = REG_NEWLINE

cdef locale_t _c_locale = newlocale(LC_ALL_MASK, b"C", NULL)
cdef int _live = 0


class PatternError(Exception):
    """The pattern does not compile, or matching it failed; str() is the library's text."""


def live_objects() -> int:
    return _live


cdef class Pattern:
    """A compiled pattern; it and the subject end at the first NUL, as C strings do."""

    cdef regex_t regex
    cdef bint compiled
    cdef readonly Py_ssize_t group_count

    def __cinit__(self, bytes pattern not None, int flags, bint groups):
        cdef locale_t previous = uselocale(_c_locale)
        cdef int error = regcomp(&self.regex, pattern, flags | (0 if groups else REG_NOSUB))
        uselocale(previous)
        if error != 0:
            raise PatternError(_error_text(error, &self.regex))
        self.compiled = True
        self.group_count = self.regex.re_nsub
        if FASTRELAY_DEBUG:
            global _live
            _live += 1

    def __dealloc__(self):
        if self.compiled:
            regfree(&self.regex)
            if FASTRELAY_DEBUG:
                global _live
                _live -= 1

    def matches(self, bytes subject not None) -> bool:
        return self._run(subject, 0, NULL)

    def groups(self, bytes subject not None, Py_ssize_t highest):
        """Groups 0 to `highest` of the match (b"" where one took no part), None when there is no match."""
        cdef Py_ssize_t i
        cdef regmatch_t *found = <regmatch_t *>malloc((highest + 1) * sizeof(regmatch_t))
        if found == NULL:
            raise MemoryError
        try:
            if not self._run(subject, highest + 1, found):
                return None
            return [
                subject[found[i].rm_so : found[i].rm_eo] if found[i].rm_so >= 0 else b""
                for i in range(highest + 1)
            ]
        finally:
            free(found)

    cdef bint _run(self, bytes subject, size_t count, regmatch_t *found) except -1:
        cdef locale_t previous = uselocale(_c_locale)
        cdef int error = regexec(&self.regex, subject, count, found, 0)
        uselocale(previous)
        if error == 0:
            return True
        if error == REG_NOMATCH:
            return False
        raise PatternError(_error_text(error, &self.regex))


cdef str _error_text(int error, regex_t *regex):
    cdef char text[256]
    regerror(error, regex, text, sizeof(text))
    return (<bytes>text).decode("utf-8", "replace")
