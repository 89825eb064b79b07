"""What the queue is told by the configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Field names are parameter names."""

    fastrelay_queue_shards: int
    fastrelay_segment_size: int  # bytes, 1 MiB at least
    fastrelay_relocation_rate: int  # bytes a second
    fastrelay_commit_deadline: float  # seconds
    message_size_limit: int
    queue_minfree: int
