from typing import Any

from fastrelay.borders import DestinationQueue
from fastrelay.delivery._transaction import Transaction
from fastrelay.delivery.session import Features, Peer
from fastrelay.tcp._stream import Protocol

def live_objects() -> int: ...

class Dialogue(Protocol):
    agent: Any
    transport: Any
    queue: DestinationQueue | None
    peer: Peer
    key: tuple[bytes, bytes]
    alive: bool
    retired: bool
    opened: float
    deadline: float
    idle_since: float
    more: bool
    single: bool
    later: list[Transaction] | None
    def __init__(
        self,
        agent: Any,
        settings: Any,
        key: tuple[bytes, bytes],
        peer: Peer,
        features: Features,
        transport: Any,
        opened: float,
    ) -> None: ...
    def run(
        self,
        queue: DestinationQueue,
        held: list[Transaction] | None = None,
        later: list[Transaction] | None = None,
    ) -> None: ...
    def take_unfinished(self) -> list[Transaction] | None: ...
    def expire(self, now: float) -> None: ...
    def quit(self) -> None: ...
    def abort(self) -> None: ...
    def connection_made(self, transport: Any) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def eof_received(self) -> bool: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...
