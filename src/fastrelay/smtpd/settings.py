"""What one smtpd service of master.cf is set to; the names are Postfix's parameters."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SmtpdSettings:
    """Filled by config.section() with main.cf and the service's -o overrides."""

    myhostname: str
    mail_name: str
    smtpd_banner: str
    mynetworks: str
    local_header_rewrite_clients: tuple[str, ...]

    smtpd_relay_restrictions: tuple[str, ...]
    smtpd_recipient_restrictions: tuple[str, ...]
    smtpd_relay_before_recipient_restrictions: bool
    smtpd_reject_unlisted_recipient: bool
    receive_override_options: tuple[str, ...]
    reject_code: int
    defer_code: int
    relay_domains_reject_code: int
    unknown_local_recipient_reject_code: int
    unknown_relay_recipient_reject_code: int
    unknown_virtual_alias_reject_code: int
    unknown_virtual_mailbox_reject_code: int

    smtpd_timeout: float
    smtpd_min_data_rate: int
    smtpd_error_sleep_time: float
    smtpd_soft_error_limit: int
    smtpd_hard_error_limit: int
    smtpd_junk_command_limit: int
    smtpd_recipient_limit: int
    smtpd_recipient_overshoot_limit: int
    smtpd_helo_required: bool
    strict_rfc821_envelopes: bool
    disable_vrfy_command: bool
    smtpd_forbidden_commands: tuple[str, ...]
    smtpd_discard_ehlo_keywords: tuple[str, ...]
    smtpd_forbid_bare_newline: str
    smtpd_forbid_bare_newline_reject_code: int
    smtpd_forbid_unauth_pipelining: bool
    smtpd_peername_lookup: bool
    smtputf8_enable: bool
    line_length_limit: int
    content_filter: str

    message_size_limit: int
    header_size_limit: int
    hopcount_limit: int
    duplicate_filter_limit: int
    always_add_missing_headers: bool
    undisclosed_recipients_header: str
    message_drop_headers: tuple[str, ...]
    remote_header_rewrite_domain: str
    header_address_token_limit: int
    append_at_myorigin: bool
    append_dot_mydomain: bool
    swap_bangpath: bool
    allow_percent_hack: bool
    myorigin: str
    resolve_null_domain: bool
    resolve_numeric_domain: bool
    mydomain: str

    fastrelay_smtpd_connection_limit: int
    fastrelay_content_memory_limit: int


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """What the checks of contents are set to, for all services."""

    disable_mime_input_processing: bool
    mime_nesting_limit: int
    mime_boundary_length_limit: int
    body_checks_size_limit: int
    header_size_limit: int
    line_length_limit: int
    strict_8bitmime: bool
    strict_8bitmime_body: bool
    strict_7bit_headers: bool
    strict_mime_encoding_domain: bool
