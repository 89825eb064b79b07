"""What bounce reads from main.cf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BounceSettings:
    """Postfix's parameters by their own names; the underscore makes 2bounce_... a Python name."""

    _2bounce_notice_recipient: str
    bounce_notice_recipient: str
    bounce_size_limit: int
    delay_notice_recipient: str
    delay_warning_time: float
    double_bounce_sender: str
    enable_long_queue_ids: bool
    mail_name: str
    maximal_queue_lifetime: float
    myhostname: str
    myorigin: str
    notify_classes: tuple[str, ...]
