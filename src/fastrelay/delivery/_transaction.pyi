from fastrelay.borders import Delivery, Outcome
from fastrelay.delivery.session import Features, Peer
from fastrelay.delivery.smtp_text import Failure

def live_objects() -> int: ...

class Session:
    def __init__(self, peer: Peer, features: Features, takes_eight_bit: bool, setup_delay: float) -> None: ...

class Transaction:
    delivery: Delivery
    outcomes: list[Outcome]
    kept: list[int] | None
    visited: set[tuple[str, int]] | None
    sessions: int
    failure: Failure | None
    def __init__(self, delivery: Delivery) -> None: ...
    def settle(self, failure: Failure) -> list[Outcome]: ...
