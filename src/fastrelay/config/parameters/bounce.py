"""Notices of mail that could not be delivered."""

from fastrelay.config.declaration import integer, names, text

PARAMETERS = (
    integer(
        "bounce_size_limit",
        "50000",
        "How much of a message is returned; a longer one is returned as headers only.",
        unit="bytes",
        minimum=1,
    ),
    names(
        "notify_classes",
        "resource, software",
        "What the postmaster is told of.",
        pattern=r"(?i)[ ,]*((bounce|2bounce|data|delay|policy|protocol|resource|software)([ ,]+|\Z))*",
        pattern_doc="any of bounce, 2bounce, data, delay, policy, protocol, resource, software",
    ),
    text("bounce_notice_recipient", "postmaster", "Who gets notices of bounced mail (class bounce)."),
    text(
        "2bounce_notice_recipient",
        "postmaster",
        "Who gets notices that could not be delivered (class 2bounce).",
    ),
    text("delay_notice_recipient", "postmaster", "Who gets notices of delayed mail (class delay)."),
    text(
        "double_bounce_sender",
        "double-bounce",
        "The sender of notices to the postmaster; mail to it is dropped.",
    ),
)
