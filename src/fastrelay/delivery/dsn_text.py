"""Split `x.y.z text` as Postfix's dsn_split does; table results and next hops of error(8) are written so."""

from __future__ import annotations

import re

DSN = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)")


def split_dsn(text: bytes, default: bytes) -> tuple[bytes, bytes]:
    """(status code, text). The class of `default` wins: what bounces is 5, what is retried is 4."""
    found = DSN.match(text)
    if not found:
        return default, text
    return default[:1] + found[1][1:], text[found.end() :]
