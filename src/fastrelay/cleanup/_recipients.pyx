"""The duplicate filter of cleanup: an ordered set over what makes two recipients the same to Postfix.

receive/_transaction.pyx calls unique_recipients() once a message. The key is Postfix's: DSN original recipient, NOTIFY,
original and final address, ASCII case aside (been_here() with BH_FLAG_FOLD). Above duplicate_filter_limit
entries nothing more is remembered: such recipients all stay, none is lost.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from fastrelay._bytes cimport Slice, lower, slice_bytes

cdef struct Key:
    uint64_t hash
    Slice address  # borrowed from the Recipient, which the list keeps alive
    Slice original
    Slice orcpt
    int notify
    bint used


cdef inline uint64_t mix(uint64_t h, Slice text) noexcept nogil:
    """FNV-1a over the folded bytes, with an end mark that no folded byte equals."""
    cdef Py_ssize_t i
    for i in range(text.size):
        h = (h ^ lower(text.data[i])) * <uint64_t>1099511628211
    return (h ^ 256) * <uint64_t>1099511628211


cdef inline bint same(Slice a, Slice b) noexcept nogil:
    cdef Py_ssize_t i
    if a.size != b.size:
        return False
    for i in range(a.size):
        if lower(a.data[i]) != lower(b.data[i]):
            return False
    return True


cdef bint remember(Key *table, Py_ssize_t mask, Key *key, bint full) noexcept nogil:
    """True if the key is new; it is then kept, unless the filter is full."""
    cdef Py_ssize_t at = key.hash & mask
    while table[at].used:
        if (table[at].hash == key.hash and table[at].notify == key.notify and same(table[at].address, key.address)
                and same(table[at].original, key.original) and same(table[at].orcpt, key.orcpt)):
            return False
        at = (at + 1) & mask
    if not full:
        table[at] = key[0]
        table[at].used = True
    return True


cdef list unique_recipients(list recipients, Py_ssize_t limit):
    """The recipients without the later of equal ones; the same list when there is nothing to do."""
    cdef Py_ssize_t slots = 8
    cdef Py_ssize_t kept = 0
    cdef Key *table
    cdef Key key
    cdef bytes address, original, orcpt
    cdef list result
    if len(recipients) < 2:
        return recipients
    while slots < 2 * len(recipients):
        slots *= 2
    table = <Key *>calloc(slots, sizeof(Key))
    if table == NULL:
        raise MemoryError
    result = []
    try:
        for recipient in recipients:
            address, original, orcpt = recipient.address, recipient.original, recipient.orcpt
            key.address, key.original, key.orcpt = slice_bytes(address), slice_bytes(original), slice_bytes(orcpt)
            key.notify = recipient.notify
            key.hash = mix(mix(mix(<uint64_t>14695981039346656037 + key.notify, key.address), key.original), key.orcpt)
            if remember(table, slots - 1, &key, limit > 0 and kept >= limit):
                result.append(recipient)
                kept += 1
    finally:
        free(table)
    return result


def unique(list recipients not None, Py_ssize_t limit) -> list:
    return unique_recipients(recipients, limit)
