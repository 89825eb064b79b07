"""Which of many rules can match a key at all: those whose texts are in it. rules.py asks.

Each rule that must contain one of some texts is indexed by them; of several choices that is taken which the
fewest rules share. The others are tried for every key. Invariant: a rule that is not named cannot match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fastrelay.tables._literals import SHORTEST, LiteralIndex
from fastrelay.tables.known import Known, Texts

FEWEST = 12  # rules that can be left out; below that the plain loop is as fast


class Prefilter:
    """`always`: the positions of rules that are tried for every key."""

    def __init__(self, index: LiteralIndex, always: list[int]) -> None:
        self._find = index.find
        self._always = always

    def rules(self, key: bytes) -> list[int]:
        """The positions of the rules that may match, in order."""
        found = self._find(key)
        if not self._always:
            return found
        return sorted(found + self._always)  # two runs in order: it merges them


def build_prefilter(rules: Mapping[int, Known | None]) -> Prefilter | None:
    """For position -> what is known of it; None when it would not help."""
    choices = {position: _usable(known) for position, known in rules.items()}
    always = [position for position, sets in choices.items() if not sets]
    if len(rules) - len(always) < FEWEST:
        return None
    shared = Counter(text for sets in choices.values() for text in set().union(*sets))
    pairs = [
        (text, position)
        for position, sets in choices.items()
        if sets
        for text in min(sets, key=lambda texts: (sum(shared[text] for text in texts), -_shortest(texts)))
    ]
    return Prefilter(LiteralIndex(pairs), always)


def _usable(known: Known | None) -> list[Texts]:
    return [texts for texts in known.sets() if _shortest(texts) >= SHORTEST] if known is not None else []


def _shortest(texts: Texts) -> int:
    return min(map(len, texts))
