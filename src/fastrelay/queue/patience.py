"""fastrelay_commit_deadline: a client does not wait for a disk that hangs until it gives up itself (reliability 1.5).

Spool asks once a second. When nothing was written for that long although something waits, the mail that waits
is told so: what is not yet on its way is dropped, what is may become durable after all and is then removed.
Notices and copies are nobody's to send again; they wait on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastrelay.queue._record import Record
from fastrelay.queue.commit import Committer
from fastrelay.queue.shard import Shard


class Patience:
    def __init__(self, committer: Committer, deadline: float) -> None:
        self.is_over = False  # nothing has been written since the deadline passed
        self._committer = committer
        self._deadline = deadline
        self._landed = -1
        self._since = 0.0

    def give_up(self, shards: Sequence[Shard], now: float) -> int:
        """Tell whose mail has waited for too long, each once; how many."""
        committer = self._committer
        waits = committer.flying is not None or any(
            (shard.pending or shard.queue) and not shard.full for shard in shards
        )
        if not waits or committer.landed != self._landed:
            self._landed, self._since = committer.landed, now
        self.is_over = now - self._since > self._deadline
        late = list(self._mail(shards)) if self.is_over else []
        for record in late:
            record.late = True
            record.cancel()
            record.report(None)
        return len(late)

    def _mail(self, shards: Sequence[Shard]) -> Iterator[Record]:
        flying = self._committer.flying
        batches = [flying.batch.records] if flying is not None and flying.batch is not None else []
        for records in (*batches, *(shard.queue for shard in shards), *(shard.pending for shard in shards)):
            for record in records:
                if not (
                    record.entry is None
                    or record.relocation
                    or record.patient
                    or record.cancelled
                    or record.late
                ):
                    yield record
