"""What a worker is born with: master fills it before the fork, `worker.run(context)` lives on it.

Shard k belongs to worker k % workers, so that the number of workers may change between starts.
Everything in it was opened by master with its own rights; after the fork the worker has none of them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastrelay.config import Config, Service
    from fastrelay.master.birth import Log


@dataclass(frozen=True, slots=True)
class WorkerContext:
    number: int
    workers: int
    shards: list[int]
    config: Config
    listeners: list[tuple[Service, socket.socket]]  # listening, SO_REUSEPORT, this worker's own
    control: socket.socket  # listening on control/worker.N
    master: socket.socket  # frames of master.channel; end of file: master is gone, stop
    queue_fd: int  # open directory queue_directory/fastrelay
    mailbox_helper: socket.socket | None  # None: not root, deliveries run with this process's rights
    log: Log  # open already, with rights that the worker has not
    ready: Callable[[], None]  # say "my listeners answer now"; `start` returns when all have


def shards_of(number: int, workers: int, shards: int) -> list[int]:
    return [shard for shard in range(shards) if shard % workers == number]
