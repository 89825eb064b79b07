"""Idle SMTP connections by (transport, next hop), the most recently used first (scache(8)).

The agent puts a dialogue in when its run ends and takes it out for the next; a dialogue whose connection
ends is dropped. Invariant: what get() returns is alive and within smtp_connection_cache_time_limit.
"""

from __future__ import annotations

from fastrelay.delivery._dialogue import Dialogue

Key = tuple[bytes, bytes]


class SessionCache:
    def __init__(self, time_limit: float) -> None:
        self._time_limit = time_limit
        self._idle: dict[Key, list[Dialogue]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, dialogue: Dialogue, now: float) -> None:
        dialogue.idle_since = now
        self._idle.setdefault(dialogue.key, []).append(dialogue)
        self._count += 1

    def get(self, key: Key, now: float) -> Dialogue | None:
        idle = self._idle.get(key)
        while idle:
            dialogue = idle.pop()
            self._count -= 1
            if dialogue.alive and now - dialogue.idle_since < self._time_limit:
                return dialogue
            dialogue.quit()
        return None

    def drop(self, dialogue: Dialogue) -> None:
        """Its connection has ended."""
        idle = self._idle.get(dialogue.key)
        if idle and dialogue in idle:
            idle.remove(dialogue)
            self._count -= 1

    def expire(self, now: float) -> None:
        """Say QUIT to what was idle too long; forget destinations without connections."""
        for key, idle in list(self._idle.items()):
            old = [d for d in idle if now - d.idle_since >= self._time_limit]
            self._count -= len(old)
            self._idle[key] = [d for d in idle if d not in old]
            if not self._idle[key]:
                del self._idle[key]
            for dialogue in old:
                dialogue.quit()

    def evict(self) -> bool:
        """Close the one that has been idle longest; False when there is none."""
        waiting = [idle[0] for idle in self._idle.values() if idle]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda d: d.idle_since)
        self.drop(oldest)
        oldest.quit()
        return True

    def close(self) -> None:
        for idle in self._idle.values():
            for dialogue in idle:
                dialogue.quit()
        self._idle.clear()
        self._count = 0
