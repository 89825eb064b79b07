"""May mail be received: Postfix's rule on queue_minfree and message_size_limit (smtpd_check_size), and
inodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastrelay.queue.files import Files, Space
from fastrelay.queue.settings import QueueSettings

_KEPT = 1.0  # seconds that an answer of the file system is used for
_INODES = 16  # fewer free ones than this: as good as none


class SpaceCheck:
    """Asks the file system at most once a second; after a refusal it wants a tenth more before it reopens."""

    def __init__(
        self,
        settings: QueueSettings,
        files: Files,
        directory: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.settings = settings
        self._files = files
        self._directory = directory
        self._clock = clock
        self._asked = float("-inf")
        self._space = Space(0, None)
        self._closed = False

    def has_room(self, size: int) -> bool:
        """For a message of `size` bytes (0: not known)."""
        now = self._clock()
        if not 0.0 <= now - self._asked < _KEPT:
            self._space, self._asked = self._files.space(self._directory), now
        room = self._allows(size)
        if size == 0:
            self._closed = not room
        return room

    def _allows(self, size: int) -> bool:
        free, inodes = self._space.free, self._space.inodes
        minfree, limit = self.settings.queue_minfree, self.settings.message_size_limit
        if self._closed:
            free -= free // 11
        if inodes is not None and inodes < _INODES:
            return False
        return minfree < free and size < free - minfree and limit * 3 // 2 < free
