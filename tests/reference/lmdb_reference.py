"""The slow obvious twin of tables/_lmdb.pyx: ask py-lmdb, opening the file anew each time."""

from pathlib import Path

import lmdb


def lookup(path: Path, key: bytes) -> bytes | None:
    """The value of a key that is folded already, stored with a NUL or without."""
    if not key:
        return None
    with (
        lmdb.open(str(path), subdir=False, lock=False, readonly=True) as environment,
        environment.begin() as transaction,
    ):
        for form in (key + b"\0", key):
            value = transaction.get(form)
            if value is not None:
                return bytes(value).partition(b"\0")[0]
    return None
