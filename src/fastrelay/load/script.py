"""What a sink is told to do at each stage of the dialogue: reply this, drop the connection, wait.

A rule is `STAGE[/TEXT]=REPLY[:WHEN]` or, for a drop, `STAGE[/TEXT][:WHEN]`. TEXT must be in the command for
the rule to count it (for instance an address); WHEN is a percentage, `every N` or `first N`. Rules of a stage
are asked in order and the first that applies is done; each counts for itself, over all connections.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

STAGES = ("connect", "helo", "mail", "rcpt", "data", "content", "dot", "quit")
WHEN = re.compile(r":(?:(?P<percent>\d+(?:\.\d+)?)%?|(?P<word>every|first) +(?P<number>\d+))$")
REPLY_LINE = re.compile(r"[2345]\d\d(?:[ -].*)?")
MAX_REPLY = 4000
Distribution = Callable[[], float]  # seconds


@dataclass(slots=True)
class Rule:
    """`reply` None is a drop."""

    stage: str
    text: bytes
    reply: bytes | None
    percent: float = 100.0
    every: int = 1
    first: int = 0  # 0: no end
    seen: int = 0

    def applies(self, line: bytes) -> bool:
        if self.text not in line.lower():
            return False
        self.seen += 1
        if self.first and self.seen > self.first:
            return False
        if self.seen % self.every:
            return False
        return self.percent >= 100 or random.random() * 100 < self.percent  # noqa: S311


@dataclass(slots=True)
class Script:
    """All that is out of the ordinary; an empty one costs a sink nothing."""

    rules: dict[str, list[Rule]] = field(default_factory=dict)
    latency: dict[str, Distribution] = field(default_factory=dict)  # by stage; "" is every other
    tarpit: float = 0.0  # bytes a second, both ways

    def __bool__(self) -> bool:
        return bool(self.rules or self.latency or self.tarpit)

    def add(self, rule: Rule) -> None:
        self.rules.setdefault(rule.stage, []).append(rule)

    def choose(self, stage: str, line: bytes) -> Rule | None:
        for rule in self.rules.get(stage, ()):
            if rule.applies(line):
                return rule
        return None

    def delay(self, stage: str) -> float:
        wait = self.latency.get(stage) or self.latency.get("")
        return wait() if wait else 0.0


def parse_reply(text: str) -> Rule:
    """`rcpt/nobody@=550 5.1.1 No such user:30`; `\\n` in the text parts the lines of a longer reply."""
    place, equals, rest = text.partition("=")
    if not equals:
        raise ValueError(f"'{text}': want STAGE=REPLY, as in rcpt=450 4.2.1 Try later")
    rest, when = _when(rest)
    rule = _rule(place, _reply(rest), when)
    if rule.stage == "content":
        raise ValueError("stage 'content' can be dropped, not replied to")
    return rule


def parse_drop(text: str) -> Rule:
    place, when = _when(text)
    return _rule(place, None, when)


def parse_latency(text: str) -> tuple[str, Distribution]:
    """`[STAGE=]MS`, `MIN-MAX` (uniform) or `exp:MEAN`, in milliseconds; stage "" when none is named."""
    stage, equals, rest = text.rpartition("=")
    if equals:
        _known(stage)
    number = r"(\d+(?:\.\d+)?)"
    if match := re.fullmatch(rf"{number}-{number}", rest):
        low, high = float(match[1]) / 1000, float(match[2]) / 1000
        if low <= high:
            return stage, lambda: random.uniform(low, high)  # noqa: S311
    elif (match := re.fullmatch(rf"exp:{number}", rest)) and float(match[1]):
        rate = 1000 / float(match[1])
        return stage, lambda: random.expovariate(rate)
    elif match := re.fullmatch(number, rest):
        fixed = float(match[1]) / 1000
        return stage, lambda: fixed
    raise ValueError(f"'{text}': want [STAGE=]MS, MIN-MAX or exp:MEAN, in milliseconds")


def _rule(place: str, reply: bytes | None, when: dict[str, float]) -> Rule:
    stage, _, text = place.partition("/")
    _known(stage)
    percent, every, first = when.get("percent", 100.0), int(when.get("every", 1)), int(when.get("first", 0))
    return Rule(stage, text.lower().encode(), reply, percent, every, first)


def _known(stage: str) -> None:
    if stage not in STAGES:
        raise ValueError(f"unknown stage '{stage}': want one of {', '.join(STAGES)}")


def _when(text: str) -> tuple[str, dict[str, float]]:
    match = WHEN.search(text)
    if match is None:
        return text, {}
    rest = text[: match.start()]
    if match["percent"]:
        if float(match["percent"]) > 100:
            raise ValueError(f"'{text}': {match['percent']} is more than 100 per cent")
        return rest, {"percent": float(match["percent"])}
    if int(match["number"]) == 0:
        raise ValueError(f"'{text}': {match['word']} 0 is never")
    return rest, {match["word"]: int(match["number"])}


def _reply(text: str) -> bytes:
    lines = text.replace("\\n", "\n").split("\n")
    if not all(map(REPLY_LINE.fullmatch, lines)) or len(text) > MAX_REPLY:
        raise ValueError(f"'{text}': not a reply: want three digits, a blank and text")
    return "".join(f"{line}\r\n" for line in lines).encode()
