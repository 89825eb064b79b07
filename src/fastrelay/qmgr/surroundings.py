"""What the queue manager is handed by the worker: the rooms that it may not know, as callables."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastrelay.borders import Agent, Delivery, Outcome
from fastrelay.qmgr.activation import Resolve
from fastrelay.qmgr.message import ActiveMessage
from fastrelay.qmgr.settings import TransportSetting

Log = Callable[[bytes, bytes], object]
Bounce = Callable[[ActiveMessage, list[tuple[int, Outcome]], list[Outcome] | None], object]
"""(message, those that ended and are to be told of, those whose delay is to be told); and then settled(message)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the queue manager is handed by the worker."""

    spool: Any  # queue.Spool
    resolve: Resolve
    unresolvable: type[Exception]  # what resolve raises when a table cannot answer
    unreadable: type[Exception]  # what the queue raises for an entry that is damaged, having set it aside
    agents: dict[bytes, Agent]
    transport_setting: TransportSetting
    process_limit: Callable[[bytes], int]  # maxproc of master.cf for this worker; 0: no limit
    is_live: Callable[[Any], bool]  # an entry that may be delivered: not done, on hold or corrupt
    queue_id: Callable[[int], bytes]
    log: Log  # (service, text)
    log_outcome: Callable[[Delivery, Outcome], object]
    bounce: Bounce
    schedule_pump: Callable[[], object]
    run: Callable[[Coroutine[Any, Any, None]], object]  # beside everything else; for what must wait
    clock: Callable[[], float]
    random: Callable[[], float]  # 0..1
