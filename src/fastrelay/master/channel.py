"""What master and a worker say to each other over their socket pair.

Master to worker: frames of a length and a pickled dict, {"reload": Config} or {"stop": True}.
Worker to master: single bytes, never a pickle, because master has rights that a worker must not get.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

LENGTH = struct.Struct("!I")
MAX_FRAME = 64 << 20
READY = b"R"


def frame(message: dict[str, Any]) -> bytes:
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if len(payload) > MAX_FRAME:
        raise ValueError(f"message to a worker of {len(payload)} bytes")
    return LENGTH.pack(len(payload)) + payload


class Receiver:
    """Collects the bytes that a worker reads from `context.master`."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        self._buffer += data
        messages = []
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + length
            if len(self._buffer) < end:
                break
            payload = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            messages.append(pickle.loads(payload))  # noqa: S301 - from our own, more privileged parent
        return messages
