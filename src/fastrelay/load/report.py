"""What a source has seen: counts, errors by reply, times in buckets; memory is bounded in any run."""

from __future__ import annotations

import math
from typing import Any

STEP = math.log(1.02)  # a bucket is 2 per cent wide
FLOOR = 1e-6
MAX_REPLIES = 100  # different ones; the rest is counted by code
MAX_TEXT = 200


class Times:
    """Seconds, as a histogram; the maximum is exact, percentiles to 2 per cent."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count, self.maximum = 0, 0.0

    def add(self, seconds: float) -> None:
        bucket = int(math.log(max(seconds, FLOOR) / FLOOR) / STEP)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        if seconds > self.maximum:
            self.maximum = seconds

    def percentile(self, percent: float) -> float:
        wanted, seen = math.ceil(self.count * percent / 100), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(FLOOR * math.exp((bucket + 1) * STEP), self.maximum)
        return 0.0

    def summary(self) -> dict[str, float]:
        """In milliseconds."""
        of = {f"p{p}": self.percentile(p) for p in (50, 90, 99)} | {"max": self.maximum}
        return {name: round(seconds * 1000, 3) for name, seconds in of.items()}


class Report:
    def __init__(self) -> None:
        self.connections = self.started = self.accepted = self.failed = 0
        self.recipients = self.recipients_rejected = self.bytes = 0
        self.errors: dict[str, int] = {}
        self.messages, self.greetings = Times(), Times()
        self.seconds = 0.0

    def error(self, stage: str, text: bytes) -> None:
        """`text` is the reply's last line, or what happened instead of one."""
        shown = text[:MAX_TEXT].decode("ascii", "backslashreplace")
        key = f"{stage}: {''.join(c if c.isprintable() else '?' for c in shown)}"
        if key not in self.errors and len(self.errors) >= MAX_REPLIES:
            key = f"{stage}: {shown[:3]} (others)"
        self.errors[key] = self.errors.get(key, 0) + 1

    @property
    def good(self) -> bool:
        return self.started == self.accepted and not self.recipients_rejected

    def as_json(self) -> dict[str, Any]:
        per_second = 1 / self.seconds if self.seconds else 0.0
        return {
            "started": self.started, "accepted": self.accepted, "failed": self.failed,
            "recipients": self.recipients, "recipients_rejected": self.recipients_rejected,
            "connections": self.connections, "bytes": self.bytes, "seconds": round(self.seconds, 6),
            "accepted_per_second": round(self.accepted * per_second, 1),
            "bytes_per_second": round(self.bytes * per_second),
            "message_ms": self.messages.summary(), "greeting_ms": self.greetings.summary(),
            "errors": dict(sorted(self.errors.items(), key=lambda item: -item[1])),
        }  # fmt: skip

    def __str__(self) -> str:
        facts = self.as_json()
        lines = [
            f"accepted {self.accepted} of {self.started} messages, {self.recipients} recipients, "
            f"on {self.connections} connections in {self.seconds:.2f} s",
            f"rate     {facts['accepted_per_second']} messages/s, {facts['bytes_per_second'] / 1e6:.2f} MB/s",
            f"message  {_times(facts['message_ms'])}   (MAIL to the reply to the final dot)",
            f"greeting {_times(facts['greeting_ms'])}   (connect to 220)",
        ]
        if facts["errors"]:
            lines += ["errors", *(f"{count:8d}  {text}" for text, count in facts["errors"].items())]
        return "\n".join(lines)


def _times(of: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f} ms" for name, value in of.items())
