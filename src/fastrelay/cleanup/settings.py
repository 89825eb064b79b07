"""What cleanup reads from main.cf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CleanupSettings:
    """Postfix's parameters by their own names."""

    always_add_missing_headers: bool
    duplicate_filter_limit: int
    enable_long_queue_ids: bool
    header_size_limit: int
    hopcount_limit: int
    local_header_rewrite_clients: tuple[str, ...]
    mail_name: str
    message_drop_headers: tuple[str, ...]
    message_size_limit: int
    myhostname: str
    undisclosed_recipients_header: str
