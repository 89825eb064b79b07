"""What is known of the texts that a pattern matches: the algebra under literals.py, which reads the patterns.

All texts are in lower case (ASCII): a key in lower case contains them whenever the key matches. Nothing
known is always right; what is said must hold for every match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Texts = frozenset[bytes]

MOST_TEXTS = 16
LONGEST_TEXT = 64
MOST_SETS = 6


@dataclass(frozen=True, slots=True)
class Known:
    """`exact`: all texts that it can match, if few. `required`: of each set, every match contains one text."""

    exact: Texts | None
    required: tuple[Texts, ...] = ()

    def sets(self) -> tuple[Texts, ...]:
        """All sets of which every match contains one."""
        if self.exact is None or b"" in self.exact:
            return self.required
        return (*self.required, self.exact)


ANY = Known(None)
EMPTY = Known(frozenset({b""}))


def literal(text: bytes) -> Known:
    return Known(frozenset({text.lower()}))


def one_of(characters: bytes) -> Known:
    """A character of a few."""
    folded = frozenset(bytes([c]) for c in characters.lower())
    return Known(folded) if folded and len(folded) <= MOST_TEXTS else ANY


def concatenate(parts: Sequence[Known]) -> Known:
    run: Texts = frozenset({b""})  # what the parts since the last unknown one match
    whole = True
    required: list[Texts] = []
    for part in parts:
        joined = _product(run, part.exact) if part.exact is not None else None
        if joined is not None:
            run = joined
            continue
        whole = False
        if b"" not in run:
            required.append(run)
        required += part.required
        run = part.exact if part.exact is not None else frozenset({b""})
    if not whole and b"" not in run:
        required.append(run)
    return Known(run if whole else None, _best(required))


def alternate(branches: Sequence[Known]) -> Known:
    if len(branches) == 1:
        return branches[0]
    exact: Texts | None = frozenset()
    needed: Texts | None = frozenset()
    for branch in branches:
        exact = _bounded(exact | branch.exact) if exact is not None and branch.exact is not None else None
        sets = branch.sets()
        best = max(sets, key=worth, default=None)
        needed = _bounded(needed | best) if needed is not None and best is not None else None
    return Known(exact, (needed,) if needed else ())


def repeat(item: Known, low: int, high: int | None) -> Known:
    """From `low` times to `high` (None: any number)."""
    if low == high == 1:
        return item
    if low == 0:
        optional = item.exact is not None and high == 1
        return Known(item.exact | {b""}) if optional and item.exact is not None else ANY
    return Known(None, item.sets())


def worth(texts: Texts) -> tuple[int, int]:
    """Long texts tell more, few tell more."""
    return min(map(len, texts)), -len(texts)


def _best(required: list[Texts]) -> tuple[Texts, ...]:
    return tuple(sorted(required, key=worth, reverse=True)[:MOST_SETS])


def _product(left: Texts, right: Texts) -> Texts | None:
    if len(left) * len(right) > MOST_TEXTS:
        return None
    return _bounded(frozenset(a + b for a in left for b in right))


def _bounded(texts: Texts) -> Texts | None:
    return texts if len(texts) <= MOST_TEXTS and all(len(text) <= LONGEST_TEXT for text in texts) else None
