"""The queue manager: how much is in memory, when to try again, how fast a destination is used.

A transport has its own `<transport>_<suffix>` for each of TRANSPORT_SUFFIXES.
"""

from fastrelay.config.declaration import Parameter, integer, names, text, time, yes_no

_FEEDBACK = r"[ \t]*[0-9]*\.?[0-9]+[ \t]*(/[ \t]*([0-9]*\.?[0-9]+|concurrency|sqrt_concurrency)[ \t]*)?"
_FEEDBACK_DOC = "number, number / number, number / concurrency or number / sqrt_concurrency"


def _feedback(name: str, doc: str) -> Parameter:
    return text(name, "1", doc, pattern=_FEEDBACK, pattern_doc=_FEEDBACK_DOC)


PARAMETERS = (
    integer("qmgr_message_active_limit", "20000", "Messages in the active queue.", minimum=1),
    integer(
        "qmgr_message_recipient_limit",
        "20000",
        "Recipients in the active queue, of messages with more than `qmgr_message_recipient_minimum`.",
        minimum=1,
    ),
    integer(
        "qmgr_message_recipient_minimum",
        "10",
        "A message of no more recipients does not wait for room for them.",
        minimum=1,
    ),
    time("queue_run_delay", "300s", "How often the deferred messages that are due are looked at.", minimum=1),
    time(
        "minimal_backoff_time",
        "300s",
        "The shortest time between tries of a deferred message, and of a dead destination.",
        minimum=1,
    ),
    time("maximal_backoff_time", "4000s", "The longest time between tries of a deferred message.", minimum=1),
    time("maximal_queue_lifetime", "5d", "How long a message is tried before it is returned.", unit="d"),
    time("bounce_queue_lifetime", "5d", "How long a notice is tried before it is given up.", unit="d"),
    time(
        "delay_warning_time",
        "0h",
        "How long mail is delayed before its sender is told, once; 0: never.",
        unit="h",
    ),
    yes_no(
        "confirm_delay_cleared",
        "no",
        "Tell the sender that mail was delivered after a notice of its delay.",
    ),
    time("transport_retry_time", "60s", "How long a transport that does not work is left alone.", minimum=1),
    text(
        "default_filter_nexthop",
        "",
        "The next hop of a content filter that names none; empty: the recipient's domain.",
    ),
    names("defer_transports", "", "The transports whose mail waits until the queue is flushed."),
    yes_no("soft_bounce", "no", "Turn every 5xx into 4xx, sent and received."),
    integer(
        "initial_destination_concurrency",
        "5",
        "Deliveries at a time to a destination that is new.",
        minimum=1,
    ),
    integer("default_destination_concurrency_limit", "20", "The most deliveries at a time to a destination."),
    integer(
        "local_destination_concurrency_limit", "2", "The most deliveries at a time to a local recipient."
    ),
    _feedback(
        "default_destination_concurrency_positive_feedback", "How fast the concurrency grows after success."
    ),
    _feedback(
        "default_destination_concurrency_negative_feedback", "How fast the concurrency shrinks after failure."
    ),
    integer(
        "default_destination_concurrency_failed_cohort_limit",
        "1",
        "Failed rounds after which a destination is taken for dead; 0: never.",
    ),
    integer("default_destination_recipient_limit", "50", "The most recipients of a delivery; 0: no limit."),
    integer("local_destination_recipient_limit", "1", "The most recipients of a local delivery."),
    integer(
        "default_delivery_slot_cost",
        "5",
        "Deliveries of a message that earn others one delivery before it; 0 and 1: none pass.",
    ),
    integer("default_delivery_slot_loan", "3", "Deliveries that may be had before they are earned."),
    integer(
        "default_delivery_slot_discount",
        "50",
        "Percent of the deliveries needed that may be had before they are earned.",
        maximum=100,
    ),
    integer(
        "default_minimum_delivery_slots",
        "3",
        "A message that cannot earn that many deliveries is never passed.",
    ),
    time("default_destination_rate_delay", "0s", "The time between two deliveries to a destination."),
)

TRANSPORT_SUFFIXES: tuple[str, ...] = (
    "destination_concurrency_limit",
    "destination_concurrency_positive_feedback",
    "destination_concurrency_negative_feedback",
    "destination_concurrency_failed_cohort_limit",
    "destination_recipient_limit",
    "destination_rate_delay",
    "initial_destination_concurrency",
    "delivery_slot_cost",
    "delivery_slot_loan",
    "delivery_slot_discount",
    "minimum_delivery_slots",
)
