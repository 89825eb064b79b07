"""The slow obvious twin of tables/_literals.pyx: every text looked for in the key."""

from collections.abc import Sequence


def find(pairs: Sequence[tuple[bytes, int]], key: bytes) -> list[int]:
    return sorted({number for text, number in pairs if text in key.lower()})
