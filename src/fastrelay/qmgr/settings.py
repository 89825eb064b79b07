"""What the queue manager reads of main.cf, and what it reads for each transport.

`QmgrSettings` is filled by the owner by field name; `TransportSettings` is asked for once a transport
through `transport_setting(transport, suffix)`, which answers "<transport>_<suffix>" or "default_<suffix>".
Invariant: everything is checked here, so that the scheduler never meets a value it cannot use.
postconf(5), qmgr(8).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TransportSetting = Callable[[bytes, str], Any]


@dataclass(frozen=True, slots=True)
class QmgrSettings:
    """Postfix's names and units: seconds, messages, bytes, percent."""

    qmgr_message_active_limit: int
    qmgr_message_recipient_limit: int
    qmgr_message_recipient_minimum: int
    minimal_backoff_time: float
    maximal_backoff_time: float
    maximal_queue_lifetime: float
    bounce_queue_lifetime: float
    delay_warning_time: float
    confirm_delay_cleared: bool
    queue_run_delay: float
    transport_retry_time: float
    defer_transports: tuple[str, ...]
    soft_bounce: bool
    default_filter_nexthop: str
    fastrelay_retry_jitter: int  # percent of the backoff time that is added at random, at most
    fastrelay_content_memory_limit: int  # bytes of contents kept in memory for the active queue


@dataclass(frozen=True, slots=True)
class Feedback:
    """A concurrency feedback: `number`, `number / number`, `number / concurrency` or `/ sqrt_concurrency`."""

    base: float
    exponent: float  # the concurrency is raised to this: 0 constant, 1 linear, 0.5 square root

    def at(self, window: int) -> float:
        return self.base / window**self.exponent if self.exponent else self.base


EXPONENTS = {"concurrency": 1.0, "sqrt_concurrency": 0.5}


def parse_feedback(value: object) -> Feedback | None:
    """None when it is not one of the forms of postconf(5), or out of 0..1: Postfix warns and uses 1."""
    number, slash, denominator = (part.strip() for part in str(value).partition("/"))
    try:
        base = float(number)
        exponent = EXPONENTS.get(denominator, 0.0)
        if slash and not exponent:
            base /= float(denominator)
    except (ValueError, ZeroDivisionError):
        return None
    return Feedback(base, exponent) if 0.0 <= base <= 1.0 and math.isfinite(base) else None


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What a transport says about its destinations; 0 is "no limit" for the limits."""

    concurrency_limit: int
    recipient_limit: int
    positive_feedback: Feedback
    negative_feedback: Feedback
    failed_cohort_limit: int
    rate_delay: float
    initial_concurrency: int
    process_limit: int
    suspension_time: float  # how long a dead destination is left alone
    delivery_slot_cost: int
    delivery_slot_loan: int
    delivery_slot_discount: int  # percent
    minimum_delivery_slots: int
    idle_limit: int  # destinations without mail that are kept for what they learnt


def read_transport_settings(
    transport: bytes,
    settings: QmgrSettings,
    transport_setting: TransportSetting,
    process_limit: int,
    warn: Callable[[bytes], None],
) -> TransportSettings:
    def feedback(suffix: str) -> Feedback:
        value = transport_setting(transport, suffix)
        parsed = parse_feedback(value)
        if parsed is None:
            name = transport + b"_" + suffix.encode()
            warn(name + b": ignoring malformed or unreasonable feedback: " + str(value).encode())
            return Feedback(1.0, 0.0)
        return parsed

    limit = int(transport_setting(transport, "destination_concurrency_limit"))
    initial = max(1, int(transport_setting(transport, "initial_destination_concurrency")))
    return TransportSettings(
        concurrency_limit=limit,
        recipient_limit=int(transport_setting(transport, "destination_recipient_limit")),
        positive_feedback=feedback("destination_concurrency_positive_feedback"),
        negative_feedback=feedback("destination_concurrency_negative_feedback"),
        failed_cohort_limit=int(transport_setting(transport, "destination_concurrency_failed_cohort_limit")),
        rate_delay=float(transport_setting(transport, "destination_rate_delay")),
        initial_concurrency=min(initial, limit) if limit else initial,
        process_limit=process_limit,
        suspension_time=settings.minimal_backoff_time,
        delivery_slot_cost=int(transport_setting(transport, "delivery_slot_cost")),
        delivery_slot_loan=int(transport_setting(transport, "delivery_slot_loan")),
        delivery_slot_discount=int(transport_setting(transport, "delivery_slot_discount")),
        minimum_delivery_slots=int(transport_setting(transport, "minimum_delivery_slots")),
        idle_limit=settings.qmgr_message_recipient_limit,
    )
