"""What a table of header_checks(5) answers, read: the actions, their texts, what is wrong with them.

checks.py (mail that comes in) and header_filter.py (mail that is sent) carry them out. An answer that makes no
sense is a warning, and the line stays as it is.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

BLANKS = b" \t"
SPACES = b" \t\n\v\f\r"
HEADER = re.compile(rb"[!-9;-~]+[ \t]*:")
DSN = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?:[ \t]+|$)")
REJECTED = b"5.7.1 message content rejected"


class Verb(enum.Enum):
    REJECT = b"reject"
    DISCARD = b"discard"
    HOLD = b"hold"
    WARN = b"warning"  # the value is the word in the log
    INFO = b"info"
    FILTER = b"filter"
    PASS = b"pass"
    PREPEND = b"prepend"
    REPLACE = b"replace"
    REDIRECT = b"redirect"
    BCC = b"bcc"
    STRIP = b"strip"
    IGNORE = b"ignore"
    DUNNO = b"dunno"


VERBS = {verb.name.encode(): verb for verb in Verb} | {b"OK": Verb.DUNNO}


@dataclass(frozen=True, slots=True)
class Action:
    """`text` follows the verb. `warnings` are to be logged; what they say is wrong with makes the verb DUNNO."""

    verb: Verb
    text: bytes = b""
    warnings: tuple[bytes, ...] = ()


def read_action(value: bytes, title: bytes, is_header: bool) -> Action:
    """`title` is the parameter that names the table; in a header, texts must be headers."""
    name = value
    for i, c in enumerate(value):
        if c in BLANKS:
            name = value[:i]
            break
    text = value[len(name) :].lstrip(SPACES)
    verb = VERBS.get(name.upper())
    if verb is None:
        return Action(Verb.DUNNO, b"", (b"unknown command in %b map: %b" % (title, value),))
    if verb is Verb.REJECT:
        return reject(text)
    problem = find_problem(verb, text, title, is_header)
    return Action(verb, text) if problem is None else Action(Verb.DUNNO, b"", (problem,))


def reject(text: bytes) -> Action:
    """The text begins with a DSN code, 5.7.1 when it has none of its own."""
    if not text:
        return Action(Verb.REJECT, REJECTED)
    found = DSN.match(text)
    if found is None:
        return Action(Verb.REJECT, b"5.7.1 " + text)
    reason = found[1] + b" " + text[found.end() :]
    if reason[:1] != b"2":
        return Action(Verb.REJECT, reason)
    problem = b"bad DSN action in %b -- need 4.x.x or 5.x.x" % text
    return Action(Verb.REJECT, b"4" + reason[1:], (problem,))


def find_problem(verb: Verb, text: bytes, title: bytes, is_header: bool) -> bytes | None:
    need_header = b' -- need "headername: headervalue"'
    if verb is Verb.FILTER:
        if not text:
            return b"missing FILTER command argument in %b map" % title
        if b":" not in text:
            return b"bad FILTER command %b in %b -- need transport:destination" % (text, title)
    elif verb is Verb.PREPEND or verb is Verb.REPLACE:
        name = verb.name.encode()
        if not text:
            return b"%b action without text in %b map" % (name, title)
        if is_header and HEADER.match(text) is None:
            return b'bad %b header text "%b" in %b map%b' % (name, text, title, need_header)
    elif verb is Verb.REDIRECT and b"@" not in text:
        return b'bad REDIRECT target "%b" in %b map -- need user@domain' % (text, title)
    elif verb is Verb.BCC and b"@" not in text:
        return b'bad BCC address "%b" in %b map -- need user@domain' % (text, title)
    return None
