"""What master and a worker say to each other over their socket pair.

Master to worker: frames of a length and a pickled dict, {"reload": Config, "services": [...]}, these in the
order of context.listeners. The maillog file, opened again by master, comes along as message["log_fd"].
Worker to master: single bytes, never a pickle, because master has rights that a worker must not get.
"""

from __future__ import annotations

import array
import contextlib
import copyreg
import pickle
import socket
import struct
from pathlib import Path
from typing import Any

from fastrelay.config import Config

LENGTH = struct.Struct("!I")
MAX_FRAME = 64 << 20
READY = b"R"


def frame(message: dict[str, Any]) -> bytes:
    payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if len(payload) > MAX_FRAME:
        raise ValueError(f"message to a worker of {len(payload)} bytes")
    return LENGTH.pack(len(payload)) + payload


def send(sock: socket.socket, data: bytes | bytearray, fd: int | None) -> int:
    """What the socket takes of `data` now, `fd` with the first byte."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
    return sock.sendmsg([data], rights)


def tell_ready(sock: socket.socket) -> None:
    """The worker's listeners answer; a master that is gone by now is noticed by `receive`."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(READY)


def _reduce(config: Config) -> tuple[Any, ...]:
    """A Config without the evaluation that it keeps at hand, which is code."""
    return _rebuild, (config.directory, config.settings, config.entries, config.services, config.warnings)


def _rebuild(directory: Path, settings: Any, entries: Any, services: Any, warnings: Any) -> Config:
    config = Config(directory, settings, entries)
    config.services, config.warnings = services, warnings
    return config


copyreg.pickle(Config, _reduce)


class Receiver:
    """The worker's end of it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._files: list[int] = []

    def receive(self, sock: socket.socket) -> list[dict[str, Any]] | None:
        """The messages complete after one read; None when master is gone. May raise BlockingIOError."""
        try:
            data, files, _, _ = socket.recv_fds(sock, 65536, 8)
        except ConnectionResetError:  # it was killed before it had read all that we said
            return None
        self._files += files
        return self._feed(data) if data else None

    def _feed(self, data: bytes) -> list[dict[str, Any]]:
        self._buffer += data
        messages = []
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + length
            if len(self._buffer) < end:
                break
            payload = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            message = pickle.loads(payload)  # noqa: S301 - from our own, more privileged parent
            if message.pop("with_log", False):
                message["log_fd"] = self._files.pop(0)
            messages.append(message)
        return messages
