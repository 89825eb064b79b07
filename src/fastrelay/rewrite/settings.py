"""What rewriting and resolving read from main.cf; field names are Postfix's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RewriteSettings:
    append_at_myorigin: bool
    append_dot_mydomain: bool
    swap_bangpath: bool
    allow_percent_hack: bool
    myorigin: str
    mydomain: str


@dataclass(frozen=True, slots=True)
class ResolveSettings(RewriteSettings):
    myhostname: str
    local_transport: str
    virtual_transport: str
    relay_transport: str
    default_transport: str
    relayhost: str
    recipient_delimiter: str
    owner_request_special: bool
    empty_address_recipient: str
    double_bounce_sender: str
    resolve_dequoted_address: bool
    allow_untrusted_routing: bool
    parent_domain_matches_subdomains: tuple[str, ...]
    show_user_unknown_table_name: bool
    empty_address_relayhost_maps_lookup_key: str
    empty_address_default_transport_maps_lookup_key: str


@dataclass(frozen=True, slots=True)
class MappingSettings(RewriteSettings):
    """canonical, virtual and generic maps, masquerading."""

    recipient_delimiter: str
    owner_request_special: bool
    propagate_unmatched_extensions: tuple[str, ...]
    canonical_classes: tuple[str, ...]
    sender_canonical_classes: tuple[str, ...]
    recipient_canonical_classes: tuple[str, ...]
    masquerade_classes: tuple[str, ...]
    masquerade_domains: tuple[str, ...]
    virtual_alias_expansion_limit: int
    virtual_alias_recursion_limit: int
    virtual_alias_address_length_limit: int


@dataclass(frozen=True, slots=True)
class EnvelopeSettings(RewriteSettings):
    """What is done to an envelope at the end of data."""

    myhostname: str
    always_bcc: str
    empty_address_recipient: str
    enable_original_recipient: bool
