"""The slow obvious twin of tables/_cdb.pyx: a whole cdb file in memory."""

import struct
from pathlib import Path


def cdb_hash(key: bytes) -> int:
    value = 5381
    for c in key:
        value = (value * 33 ^ c) & 0xFFFFFFFF
    return value


def lookup(path: Path, key: bytes) -> bytes | None:
    """ValueError, struct.error: the file is damaged."""
    data = path.read_bytes()
    hashed = cdb_hash(key)
    table, slots = struct.unpack_from("<II", data, 8 * (hashed & 255))
    if table < 2048 or table + 8 * slots > len(data):
        raise ValueError("table")
    for step in range(slots):
        slot = table + 8 * ((hashed // 256 + step) % slots)
        found, record = struct.unpack_from("<II", data, slot)
        if record == 0:
            return None
        if found == hashed:
            key_size, value_size = struct.unpack_from("<II", data, record)
            end = record + 8 + key_size + value_size
            if end > len(data):
                raise ValueError("record")
            if data[record + 8 : record + 8 + key_size] == key:
                return data[end - value_size : end]
    return None
