"""Values that stand for files: postmap -F, and what it stores, as Postfix's dict_file(3) does.

A source's value is a list of file names; what is stored is their content, in base64, a newline between files.
"""

from __future__ import annotations

import base64
import binascii
import os
import re

from fastrelay.tables.table import strerror

LARGEST = 64 << 20  # bytes of the files of one value


def content_of(names: bytes) -> bytes:
    """What is in the files of a list; ValueError says what is wrong, as Postfix would."""
    parts: list[bytes] = []
    for name in re.split(rb"[,\s]+", names.strip(b", \t\r\n\v\f")):
        shown = os.fsdecode(name)
        try:
            with open(name, "rb") as file:
                parts.append(file.read(LARGEST + 1))
        except OSError as error:
            verb = "read" if isinstance(error, IsADirectoryError) else "open"
            raise ValueError(f"{verb} {shown}: {strerror(error)}") from error
        if sum(map(len, parts)) > LARGEST:
            raise ValueError(f"file too large: {shown}")
    return b"\n".join(parts)


def pack(names: bytes) -> bytes:
    """What is stored for a value that names files."""
    return base64.b64encode(content_of(names))


def unpack(stored: bytes) -> bytes:
    """The content that was stored; ValueError."""
    try:
        return base64.b64decode(stored, validate=True)
    except binascii.Error as error:
        raise ValueError("malformed BASE64 value") from error
