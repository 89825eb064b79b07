from collections.abc import Sequence

from fastrelay.borders import Outcome

def encode_outcomes(
    outcomes: Sequence[Outcome], next_try: float = 0.0, tries: int = 0, state: int = 3
) -> bytes: ...
def decode_outcomes(data: bytes) -> list[Outcome]: ...
