"""What is sent through the relays: one Case a row of the table in docs/benchmarks.md.

`messages` are those of a Postfix run; fastrelay gets FASTER times as many, so that both run for some seconds.
All other things are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
FASTER = 5
DOMAIN = "there.example"
ENTRIES = 1_000_000


@dataclass(frozen=True)
class Case:
    title: str
    messages: int = 2000
    size: int = 4 * KIB
    sessions: int = 50
    recipients: int = 1
    reuse: bool = True
    numbered: bool = False  # every message to another recipient: 1user@, 2user@ ...
    entries: int = 0  # in each table; 0: no tables
    half_load: bool = False  # by `fastrelay source`, which measures the time to the 250
    rate: float = 0.0  # by `fastrelay source` too: so many messages a second

    def count(self, name: str, scale: float) -> int:
        """For the relay of this name."""
        factor = 1 if name == "Postfix" or self.rate else FASTER
        return max(self.sessions, round(self.messages * factor * scale))

    @property
    def warm_up(self) -> int:
        """Enough that every process that the case needs is there."""
        return max(200, 2 * self.sessions)


CASES = {
    "one": Case("4 KB, one message a connection", reuse=False),
    "reuse": Case("4 KB, connections reused"),
    "1k": Case("1 KB, connections reused", size=KIB),
    "64k": Case("64 KB, connections reused", messages=1000, size=64 * KIB),
    "1m": Case("1 MB, connections reused", messages=150, size=1024 * KIB),
    "recipients": Case("4 KB to 50 recipients, reused", messages=400, recipients=50),
    "sessions10": Case("4 KB, 10 sessions, one message a connection", sessions=10, reuse=False),
    "sessions500": Case("4 KB, 500 sessions, one message a connection", sessions=500, reuse=False),
    "no-tables": Case("4 KB, reused, each to another recipient, no tables", numbered=True),
    "tables": Case("the same, tables of 1,000,000 entries", numbered=True, entries=ENTRIES),
    "half-load": Case("4 KB, reused, at half of what the relay can take", half_load=True),
    "same-rate": Case("4 KB, reused, at 100 a second", messages=1000, rate=100.0),
}
DEFAULT = ("one", "reuse")
