"""Names for unix sockets: 107 bytes at most, so a deep one is reached through an open directory."""

import os
from pathlib import Path

LONGEST = 100

_open_directories: dict[Path, int] = {}


def socket_name(path: Path) -> str:
    """What to give to bind() or connect() for `path`."""
    if len(os.fsencode(path)) < LONGEST:
        return str(path)
    directory = path.parent
    if directory not in _open_directories:
        _open_directories[directory] = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return f"/proc/self/fd/{_open_directories[directory]}/{path.name}"
