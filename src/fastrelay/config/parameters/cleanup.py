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
    names("header_checks", "", "The tables that say what to do about a message's headers, header_checks(5)."),
    names("mime_header_checks", "$header_checks", "The same for headers about MIME, and those of parts."),
    names("nested_header_checks", "$header_checks", "The same for headers of messages inside the message."),
    names("body_checks", "", "The same for each line of what is no header."),
    integer(
        "body_checks_size_limit", "51200", "How much of each part body_checks look at; 0: all.", unit="bytes"
    ),
    yes_no("disable_mime_input_processing", "no", "Take all that follows the header for one body."),
    integer("mime_nesting_limit", "100", "The deepest nesting of parts; deeper mail is refused.", minimum=1),
    integer(
        "mime_boundary_length_limit",
        "2048",
        "How much of a boundary is compared.",
        unit="bytes",
        minimum=1,
    ),
    yes_no("strict_7bit_headers", "no", "Refuse mail with bytes above 127 in headers."),
    yes_no("strict_8bitmime_body", "no", "Refuse mail with bytes above 127 in parts that say they are 7bit."),
    yes_no("strict_8bitmime", "no", "strict_7bit_headers and strict_8bitmime_body."),
    yes_no(
        "strict_mime_encoding_domain",
        "no",
        "Refuse multipart or message/rfc822 in base64 or quoted-printable, message/partial in 8bit.",
    ),
    text("content_filter", "", "The transport:next_hop that all received mail goes to instead of its own."),
)
