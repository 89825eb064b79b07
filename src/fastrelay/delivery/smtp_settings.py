"""What the SMTP delivery agent and its resolver read from main.cf: Postfix's parameters by their own names.

`fastrelay_mx_forbidden_networks`: addresses that DNS may not send mail to when the destination came from
the recipient's own domain. A destination that the configuration names (transport table, relayhost) is free.
`fastrelay_smtp_connection_limit`: connections that one worker's agent has open at a time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """Names to addresses."""

    fastrelay_dns_servers: tuple[str, ...]  # "127.0.0.1:5353", "[::1]:53"; empty: resolv.conf's
    fastrelay_dns_timeout: float  # total time of one look-up
    fastrelay_mx_forbidden_networks: tuple[str, ...]
    myhostname: str
    inet_protocols: tuple[str, ...]
    disable_dns_lookups: bool
    smtp_dns_support_level: str
    smtp_host_lookup: tuple[str, ...]
    smtp_tcp_port: str
    smtp_mx_address_limit: int
    smtp_address_preference: str
    smtp_balance_inet_protocols: bool
    smtp_randomize_addresses: bool
    smtp_defer_if_no_mx_address_found: bool
    ignore_mx_lookup_error: bool


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Connections and conversations. Time limits hold for a whole command and its whole reply."""

    myhostname: str
    relayhost: str
    smtp_helo_name: str
    smtp_bind_address: str
    smtp_bind_address6: str
    smtp_bind_address_enforce: bool
    smtp_tcp_port: str
    smtp_always_send_ehlo: bool
    smtp_never_send_ehlo: bool
    smtp_skip_5xx_greeting: bool
    smtp_skip_quit_response: bool
    smtp_discard_ehlo_keywords: tuple[str, ...]
    smtp_line_length_limit: int
    disable_mime_output_conversion: bool
    smtp_mx_session_limit: int
    smtp_min_data_rate: int
    smtp_connect_timeout: float
    smtp_helo_timeout: float
    smtp_mail_timeout: float
    smtp_rcpt_timeout: float
    smtp_data_init_timeout: float
    smtp_data_xfer_timeout: float
    smtp_data_done_timeout: float
    smtp_rset_timeout: float
    smtp_quit_timeout: float
    smtp_connection_cache_on_demand: bool
    smtp_connection_cache_destinations: tuple[str, ...]
    smtp_connection_cache_time_limit: float
    smtp_connection_reuse_time_limit: float
    smtp_connection_reuse_count_limit: int
    fastrelay_smtp_connection_limit: int
