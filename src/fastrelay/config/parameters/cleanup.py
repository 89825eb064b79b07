"""What happens to the contents of a message on its way in."""

from fastrelay.config.declaration import integer, names, size, text, yes_no

PARAMETERS = (
    size("message_size_limit", "10240000", "The largest message, envelope included; 0: no limit."),
    size(
        "queue_minfree",
        "0",
        "Free space that the queue's file system must have; 0: 1.5 times message_size_limit.",
    ),
    integer(
        "header_size_limit",
        "102400",
        "The longest header; the rest of it is dropped.",
        unit="bytes",
        minimum=1,
    ),
    integer("hopcount_limit", "50", "Received: headers from which on a message is taken to loop.", minimum=1),
    integer(
        "duplicate_filter_limit", "1000", "The recipients remembered for removing duplicates; 0: no limit."
    ),
    yes_no(
        "always_add_missing_headers", "no", "Add From:, To:, Date: and Message-Id: to strangers' mail too."
    ),
    names(
        "local_header_rewrite_clients",
        "permit_inet_interfaces",
        "The clients whose mail gets missing headers, and its header addresses completed.",
    ),
    text(
        "remote_header_rewrite_domain",
        "",
        "What completes header addresses of other clients, who then get missing headers too; empty: nothing.",
    ),
    integer(
        "header_address_token_limit",
        "10240",
        "The address tokens of one header; what follows them is dropped when the header is rewritten.",
        minimum=1,
    ),
    text("undisclosed_recipients_header", "", "The To: header to add when there is no recipient header."),
    names(
        "message_drop_headers",
        "bcc, content-length, resent-bcc, return-path",
        "The headers that are removed.",
    ),
)
