"""The SMTP server: limits, time-outs, restrictions and reply codes."""

from fastrelay.config.declaration import choice, integer, names, reply_code, text, time, yes_no

_LIMITS = (
    text(
        "smtpd_banner",
        "$myhostname ESMTP $mail_name",
        "The text of the 220 greeting; it must begin with $myhostname.",
    ),
    time(
        "smtpd_timeout",
        "${stress?{10}:{300}}s",
        "How long a client may take to send a command and to take a reply.",
        minimum=1,
    ),
    integer(
        "smtpd_min_data_rate",
        "500",
        "The deadline of DATA grows as if so many bytes a second came.",
        unit="bytes/s",
        minimum=1,
    ),
    time("smtpd_error_sleep_time", "1s", "The delay of replies to a client above smtpd_soft_error_limit."),
    integer("smtpd_soft_error_limit", "10", "Errors after which replies are delayed.", minimum=1),
    integer(
        "smtpd_hard_error_limit",
        "${stress?{1}:{20}}",
        "Errors after which the session ends with 421.",
        minimum=1,
    ),
    integer(
        "smtpd_junk_command_limit",
        "${stress?{1}:{100}}",
        "Commands like NOOP and RSET without mail, before each is an error.",
        minimum=1,
    ),
    integer("smtpd_recipient_limit", "1000", "The most recipients of a message.", minimum=1),
    integer(
        "smtpd_recipient_overshoot_limit",
        "1000",
        "Recipients above the limit before each is an error.",
        minimum=1,
    ),
    integer(
        "line_length_limit",
        "2048",
        "The longest command line; a longer one is refused with 500.",
        unit="bytes",
        minimum=512,
    ),
    yes_no("smtpd_peername_lookup", "yes", "Look up the name of a client's address."),
)

_PROTOCOL = (
    yes_no("smtpd_helo_required", "no", "MAIL needs HELO or EHLO first."),
    yes_no("strict_rfc821_envelopes", "no", "MAIL and RCPT addresses must be inside <> and nothing else."),
    yes_no("disable_vrfy_command", "no", "Refuse VRFY with 502."),
    names(
        "smtpd_forbidden_commands",
        "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}",
        "Commands that end the session.",
    ),
    names("smtpd_discard_ehlo_keywords", "", "EHLO keywords that are not announced."),
    choice(
        "smtpd_forbid_bare_newline",
        "normalize",
        ("normalize", "reject", "yes", "note", "no"),
        "What to do with lines that end in LF alone; end of data is CRLF.CRLF in any case.",
    ),
    reply_code(
        "smtpd_forbid_bare_newline_reject_code",
        "550",
        "The reply code to contents with bare LF; 521 ends the session.",
    ),
    yes_no(
        "smtpd_forbid_unauth_pipelining", "yes", "End a session that sends commands ahead where it must wait."
    ),
)

_RESTRICTIONS = (
    names(
        "smtpd_relay_restrictions",
        "${{$compatibility_level} <level {1} ? {} : "
        "{permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}",
        "The checks at RCPT that guard against open relay.",
    ),
    names("smtpd_recipient_restrictions", "", "The checks at RCPT."),
    yes_no(
        "smtpd_relay_before_recipient_restrictions",
        "${{$compatibility_level} <level {3.6} ? {no} : {yes}}",
        "Check smtpd_relay_restrictions before smtpd_recipient_restrictions.",
    ),
    names(
        "receive_override_options",
        "",
        "What is left out: no_unknown_recipient_checks, no_address_mappings.",
        pattern=r"(?i)[\s,]*((?:no_unknown_recipient_checks|no_address_mappings|no_header_body_checks|no_milters)"
        r"[\s,]*)*",
        pattern_doc="no_unknown_recipient_checks, no_address_mappings, no_header_body_checks, no_milters",
    ),
    yes_no(
        "smtpd_reject_unlisted_recipient", "yes", "Refuse unknown recipients even when no restriction asks."
    ),
)

_REPLY_CODES = (
    reply_code("reject_code", "554", "The reply code of reject."),
    reply_code("defer_code", "450", "The reply code of defer."),
    reply_code("relay_domains_reject_code", "554", "The reply code to a destination that is not ours."),
    reply_code("unknown_local_recipient_reject_code", "550", "The reply code to an unknown local recipient."),
    reply_code(
        "unknown_relay_recipient_reject_code",
        "550",
        "The reply code to a recipient not in relay_recipient_maps.",
    ),
    reply_code(
        "unknown_virtual_alias_reject_code", "550", "The reply code to a recipient not in virtual_alias_maps."
    ),
    reply_code(
        "unknown_virtual_mailbox_reject_code",
        "550",
        "The reply code to a recipient not in virtual_mailbox_maps.",
    ),
)

PARAMETERS = _LIMITS + _PROTOCOL + _RESTRICTIONS + _REPLY_CODES
