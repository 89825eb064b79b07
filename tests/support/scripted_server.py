"""A lookup server that does as its test says, in a thread: on a TCP port and on a socket of the file system.

    with ScriptedServer(lambda request: b"200 value\\n") as server: ...server.address, server.path...

The handler gets what one recv() returned and answers bytes, an iterable of bytes (sent until the client
goes away), or None: hang up. `silent` accepts and never answers.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Reply = bytes | Iterable[bytes] | None


class ScriptedServer:
    def __init__(self, handler: Callable[[bytes], Reply]) -> None:
        self.handler = handler
        self.seen: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._directory = tempfile.TemporaryDirectory(prefix="fastrelay-test-")
        self.path = Path(self._directory.name) / "socket"
        inet, unix = socket.socket(), socket.socket(socket.AF_UNIX)
        inet.bind(("127.0.0.1", 0))
        self.port = inet.getsockname()[1]
        unix.bind(str(self.path))
        self._listeners = [inet, unix]
        for listener in self._listeners:
            listener.listen(20)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        self.hang_up()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._directory.cleanup()

    def hang_up(self) -> None:
        """End all connections; new ones are accepted."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while request := connection.recv(200_000):
                self.seen.append(request)
                reply = self.handler(request)
                if reply is None:
                    return
                for part in [reply] if isinstance(reply, bytes) else reply:
                    connection.sendall(part)


def silent(_request: bytes) -> bytes:
    """A handler that takes requests and never answers."""
    return b""
