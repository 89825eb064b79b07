"""Slow obvious twin of the queue's stored form: CRC32C bit by bit, and a parser of segments that only reads.

Beside queue/_checksum.pyx, and what _record.pyx, _envelope.pyx and _batch.pyx write.
"""

import struct
from dataclasses import dataclass

BATCH, ENVELOPE, DATA, COMMIT, DONE, OUTCOME = 1, 2, 3, 4, 5, 6
BLOCK = 4096


def crc32c(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF


@dataclass
class Frame:
    offset: int
    type: int
    flags: int
    sequence: int
    message: int
    payload: bytes

    @property
    def end(self) -> int:
        return self.offset + 32 + len(self.payload)


def segment_header(data: bytes) -> dict[str, int]:
    magic, version, shard, number, salt, size, crc = struct.unpack_from("<8sIIQQQI", data)
    assert magic == b"FRSEG\r\n\x1a" and version == 1
    assert crc == crc32c(data[:40])
    return {"shard": shard, "number": number, "salt": salt, "size": size}


def frame(data: bytes, offset: int, salt: int, check: bool = True) -> Frame | None:
    """The frame at `offset`; `check`: CRCs too (slow)."""
    if offset + 32 > len(data):
        return None
    magic, kind, flags, length, sequence, message, payload_crc, header_crc = struct.unpack_from(
        "<HBBIQQII", data, offset
    )
    if magic != 0x5246 or length > 1 << 20 or offset + 32 + length > len(data):
        return None
    if header_crc != crc32c(struct.pack("<Q", salt) + data[offset : offset + 28]):
        return None
    payload = data[offset + 32 : offset + 32 + length]
    if check and payload_crc != crc32c(payload):
        return None
    return Frame(offset, kind, flags, sequence, message, payload)


def frames(data: bytes, check: bool = True) -> list[Frame]:
    """Every frame of a segment that is whole, in order."""
    salt = segment_header(data)["salt"]
    found: list[Frame] = []
    offset = BLOCK
    while (batch := frame(data, offset, salt, check)) is not None and batch.type == BATCH:
        _, _, size, count = struct.unpack_from("<QQII", batch.payload)
        for _ in range(count):
            one = frame(data, offset, salt, check)
            assert one is not None
            found.append(one)
            offset = one.end
        assert offset == batch.offset + size
        offset = (offset + BLOCK - 1) // BLOCK * BLOCK
    return found
