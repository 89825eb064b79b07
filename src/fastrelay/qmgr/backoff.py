"""When a message is tried again, and when it has been tried for long enough.

Called by the queue manager at the end of a pass. Postfix's rule: wait as long as the message has been
here already (so its age doubles), but no less than minimal_backoff_time and no more than
maximal_backoff_time. Jitter is only ever added, so that nothing is tried earlier than Postfix would.
RFC 5321 4.5.4.1.
"""

from __future__ import annotations

from fastrelay.qmgr.settings import QmgrSettings


def next_try(settings: QmgrSettings, arrival: float, now: float, randomness: float) -> float:
    """The time of the next try; `randomness` is in 0..1."""
    delay = max(settings.minimal_backoff_time, min(now - arrival, settings.maximal_backoff_time))
    return now + delay * (1.0 + randomness * settings.fastrelay_retry_jitter / 100.0)


def expiry(settings: QmgrSettings, arrival: float, sender: bytes) -> float:
    """When a message that is still deferred is given up."""
    return arrival + (settings.maximal_queue_lifetime if sender else settings.bounce_queue_lifetime)
