"""The SMTP client: time-outs, which servers to try, what to say to them."""

from fastrelay.config.declaration import choice, integer, names, text, time, yes_no

_TIMEOUTS = (
    time("smtp_connect_timeout", "30s", "How long connecting may take; 0: as long as the system's."),
    time("smtp_helo_timeout", "300s", "How long the greeting and the reply to EHLO may take.", minimum=1),
    time("smtp_mail_timeout", "300s", "How long the reply to MAIL may take.", minimum=1),
    time("smtp_rcpt_timeout", "300s", "How long the reply to RCPT may take.", minimum=1),
    time("smtp_data_init_timeout", "120s", "How long the reply to DATA may take.", minimum=1),
    time("smtp_data_xfer_timeout", "180s", "How long sending a piece of the contents may take.", minimum=1),
    time("smtp_data_done_timeout", "600s", "How long the reply to the end of data may take.", minimum=1),
    time("smtp_rset_timeout", "20s", "How long the reply to RSET may take.", minimum=1),
    time("smtp_quit_timeout", "300s", "How long the reply to QUIT may take.", minimum=1),
    integer(
        "smtp_min_data_rate",
        "500",
        "The deadline of the contents grows as if so many bytes a second went.",
        unit="bytes/s",
        minimum=1,
    ),
)

_SERVERS = (
    text("smtp_tcp_port", "smtp", "The port that servers are connected to when the next hop names none."),
    integer("smtp_mx_address_limit", "5", "The most addresses tried for a delivery; 0: no limit."),
    integer("smtp_mx_session_limit", "2", "The most sessions tried for a delivery; 0: no limit."),
    yes_no("smtp_randomize_addresses", "yes", "Shuffle the servers of equal preference."),
    choice("smtp_address_preference", "any", ("any", "ipv4", "ipv6"), "The protocol that is tried first."),
    yes_no(
        "smtp_balance_inet_protocols", "yes", "Keep room for both protocols within smtp_mx_address_limit."
    ),
    text("smtp_bind_address", "", "The IPv4 address that connections go out from."),
    text("smtp_bind_address6", "", "The IPv6 address that connections go out from."),
    yes_no("smtp_bind_address_enforce", "no", "Defer mail when the address to go out from cannot be used."),
    choice(
        "smtp_dns_support_level",
        "",
        ("", "disabled", "enabled", "dnssec"),
        "How DNS is used; empty: enabled, or as disable_dns_lookups says.",
    ),
    yes_no("smtp_skip_5xx_greeting", "yes", "Try the next server after a 5xx greeting."),
    yes_no("ignore_mx_lookup_error", "no", "Use the A record when the MX look-up fails temporarily."),
    yes_no("smtp_defer_if_no_mx_address_found", "no", "Defer mail when no MX host has an address."),
    yes_no("disable_dns_lookups", "no", "Look up hosts in the system's way only, without MX."),
    names("smtp_host_lookup", "dns", "How a host's address is found: dns, native."),
)

_DIALOGUE = (
    text("smtp_helo_name", "$myhostname", "The name in EHLO and HELO."),
    yes_no("smtp_always_send_ehlo", "yes", "Say EHLO even if the greeting has no ESMTP."),
    yes_no("smtp_never_send_ehlo", "no", "Say HELO only."),
    yes_no("smtp_skip_quit_response", "yes", "Do not wait for the reply to QUIT."),
    names("smtp_discard_ehlo_keywords", "", "EHLO keywords of servers that are passed over."),
    integer(
        "smtp_line_length_limit",
        "998",
        "The longest line sent; longer ones are folded; 0: no limit.",
        unit="bytes",
    ),
    yes_no(
        "disable_mime_output_conversion",
        "no",
        "Do not turn 8-bit contents into 7-bit for a server without 8BITMIME.",
    ),
    names(
        "smtp_connection_cache_destinations", "", "The destinations whose connections are always kept open."
    ),
    yes_no(
        "smtp_connection_cache_on_demand",
        "yes",
        "Keep connections open while a destination has mail waiting.",
    ),
    time("smtp_connection_cache_time_limit", "2s", "How long an idle connection is kept."),
    time(
        "smtp_connection_reuse_time_limit",
        "300s",
        "How long a connection is used for further messages.",
        minimum=1,
    ),
    integer(
        "smtp_connection_reuse_count_limit", "0", "How many messages a connection is used for; 0: no limit."
    ),
    names(
        "smtp_header_checks",
        "",
        "The tables that say what to do about headers as mail is sent, header_checks(5).",
    ),
    names("smtp_mime_header_checks", "", "The same for headers about MIME, and those of parts."),
    names("smtp_nested_header_checks", "", "The same for headers of messages inside the message."),
    names("smtp_body_checks", "", "The same for each line of what is no header."),
)

PARAMETERS = _TIMEOUTS + _SERVERS + _DIALOGUE
