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
SLOW = 2  # seconds


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
    pipelined: bool = False  # by `fastrelay source`: smtp-source does not
    destinations: int = 0  # next hops, each with an address of its own
    slow: int = 0  # of 100 of those answer DATA after SLOW seconds
    late: float = 0.0  # milliseconds until the sink answers the final dot
    refused_every: int = 0  # RCPT that the sink answers with 450
    alone: bool = False  # fastrelay only, once, whatever --scale says: it is about the number of messages

    def count(self, name: str, scale: float) -> int:
        """For the relay of this name."""
        factor = FASTER if name == "fastrelay" and not self.rate else 1
        return max(self.sessions, round(self.messages * factor * (1.0 if self.alone else scale)))

    @property
    def is_plain(self) -> bool:
        """smtp-source and smtp-sink do it, and could without a relay between."""
        special = (
            self.half_load,
            self.rate,
            self.pipelined,
            self.destinations,
            self.late,
            self.refused_every,
        )
        return not any(special)

    @property
    def is_routed(self) -> bool:
        """Tables say where its messages go."""
        return bool(self.entries or self.destinations)

    @property
    def arriving(self) -> float:
        """Of the messages, what the sink has soon: not what it refuses, nor what waits for slow next hops."""
        return (1 - 1 / self.refused_every if self.refused_every else 1.0) * (1 - self.slow / 100)

    @property
    def warm_up(self) -> int:
        """Enough that every process that the case needs is there."""
        return max(200, 2 * self.sessions)


CASES = {
    "one": Case("4 KB, one message a connection", reuse=False),
    "reuse": Case("4 KB, connections reused"),
    "pipelined": Case("4 KB, connections reused, commands pipelined", pipelined=True),
    "1k": Case("1 KB, connections reused", size=KIB),
    "64k": Case("64 KB, connections reused", messages=1000, size=64 * KIB),
    "1m": Case("1 MB, connections reused", messages=150, size=1024 * KIB),
    "recipients": Case("4 KB to 50 recipients, reused", messages=400, recipients=50),
    "destinations": Case(
        "4 KB, reused, 1,000 next hops of which 5 percent are slow", destinations=1000, slow=5
    ),
    "late": Case(
        "4 KB, reused, the sink answers after 50 ms and defers 10 percent", late=50, refused_every=10
    ),
    "sessions10": Case("4 KB, 10 sessions, one message a connection", sessions=10, reuse=False),
    "sessions500": Case("4 KB, 500 sessions, one message a connection", sessions=500, reuse=False),
    "no-tables": Case("4 KB, reused, each to another recipient, no tables", numbered=True),
    "tables": Case("the same, tables of 1,000,000 entries", numbered=True, entries=ENTRIES),
    "half-load": Case("4 KB, reused, at half of what the relay can take", half_load=True),
    "same-rate": Case("4 KB, reused, at 100 a second", messages=1000, rate=100.0),
    "many": Case("4 KB, connections reused, 200,000 messages", messages=200_000 // FASTER, alone=True),
    "million": Case("4 KB, connections reused, 1,000,000 messages", messages=1_000_000 // FASTER, alone=True),
}
DEFAULT = ("one", "reuse")
SHOWN = ("one", "reuse", "pipelined", "1k", "64k", "1m", "recipients", "sessions10", "sessions500")
SHOWN += ("no-tables", "tables", "destinations", "late", "half-load")  # what docs/benchmarks.md has
