from collections.abc import Callable
from typing import IO

from fastrelay.tables._sorter import Sorter

class Scanner:
    def __init__(
        self, sorter: Sorter, end: bytes, fold: bool, other: Callable[[int, bytes], None]
    ) -> None: ...
    def read(self, source: IO[bytes]) -> None: ...
