"""What the stored form is made of: frames' headers and fixed parts, types, limits, states. docs/queue-format.md is its text.

Its structs and numbers are in _format.pxd, for the compiled files beside it; here is what Python sees. Invariant:
everything read from a disk is bounded and checked before it is used: what is wrong raises CorruptRecord
and never more.
"""

import enum


class CorruptRecord(Exception):
    """What was read is not what was written."""


class NewerFormat(Exception):
    """Written by a later version: this one must not touch it."""


class State(enum.IntEnum):
    """See the table of states in docs/queue-format.md."""

    INCOMING = S_INCOMING
    ACTIVE = S_ACTIVE
    DEFERRED = S_DEFERRED
    HOLD = S_HOLD
    CORRUPT = S_CORRUPT
    DONE = S_DONE
