"""May mail be received: Postfix's rule on queue_minfree and message_size_limit (smtpd_check_size), and
inodes.
"""

from __future__ import annotations

from collections.abc import Callable

import cython

from fastrelay.queue.files import Files
from fastrelay.queue.settings import QueueSettings

if not cython.compiled:  # else that of _clock.pxd
    from time import monotonic

_KEPT = 1.0  # seconds that an answer of the file system is used for
_INODES = 16  # fewer free ones than this: as good as none
_MOST = 1 << 63  # bytes: more is taken for this


class SpaceCheck:
    """Asks the file system at most once a second; after a refusal it wants a tenth more before it reopens."""

    def __init__(
        self,
        settings: QueueSettings,
        files: Files,
        directory: int,
        clock: Callable[[], float] | None = None,
    ):
        """`clock` None: the system's monotonic one."""
        self.settings = settings
        self._files = files
        self._directory = directory
        self._clock = clock
        self._asked = float("-inf")
        self._free = 0
        self._few_inodes = False
        self._closed = False

    @property
    def settings(self) -> QueueSettings:
        return self._settings

    @settings.setter
    def settings(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._minfree = min(settings.queue_minfree, _MOST)
        self._least = min(settings.message_size_limit * 3 // 2, _MOST)

    def has_room(self, size: int) -> bool:
        """For a message of `size` bytes (0: not known)."""
        now = monotonic() if self._clock is None else self._clock()
        if not 0.0 <= now - self._asked < _KEPT:
            self._ask()
            self._asked = now
        room = self._allows(size)
        if size == 0:
            self._closed = not room
        return room

    def _ask(self) -> None:
        space = self._files.space(self._directory)
        self._free = min(space.free, _MOST)
        self._few_inodes = space.inodes is not None and space.inodes < _INODES

    def _allows(self, size: int) -> bool:
        free = self._free
        if self._closed:
            free -= free // 11
        if self._few_inodes:
            return False
        return self._minfree < free and size < free - self._minfree and self._least < free
