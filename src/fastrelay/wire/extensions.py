"""The EHLO reply: which extensions are announced, in Postfix's order (RFC 5321 4.1.1.1)."""

from collections.abc import Collection

EXTENSIONS = (
    b"PIPELINING",
    b"SIZE",
    b"VRFY",
    b"ETRN",
    b"ENHANCEDSTATUSCODES",
    b"8BITMIME",
    b"DSN",
    b"SMTPUTF8",
    b"CHUNKING",
)


def ehlo_reply(myhostname: bytes, size_limit: int, without: Collection[bytes]) -> bytes:
    """The whole multi-line reply, without the last CRLF; `without` holds upper-case keywords to leave out."""
    size = b"SIZE %d" % size_limit if size_limit else b"SIZE"
    keywords = [keyword for keyword in EXTENSIONS if keyword not in without]
    lines = [myhostname, *(size if keyword == b"SIZE" else keyword for keyword in keywords)]
    return b"".join(b"250-%b\r\n" % line for line in lines[:-1]) + b"250 " + lines[-1]
