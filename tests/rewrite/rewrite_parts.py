"""Settings, maps and matchers for the rewrite tests; the tables are the real ones."""

from dataclasses import fields

from fastrelay.rewrite.lookup import Lookup
from fastrelay.rewrite.resolve import ResolveLookups, Resolver
from fastrelay.rewrite.settings import EnvelopeSettings, ResolveSettings
from fastrelay.tables.maps import Maps
from fastrelay.tables.matching import DomainMatcher

DEFAULTS = {
    "append_at_myorigin": True,
    "append_dot_mydomain": False,
    "swap_bangpath": True,
    "allow_percent_hack": True,
    "myorigin": "host.example",
    "mydomain": "example",
    "myhostname": "host.example",
    "local_transport": "local:host.example",
    "virtual_transport": "virtual",
    "relay_transport": "relay",
    "default_transport": "smtp",
    "relayhost": "",
    "recipient_delimiter": "",
    "owner_request_special": True,
    "empty_address_recipient": "MAILER-DAEMON",
    "double_bounce_sender": "double-bounce",
    "resolve_dequoted_address": True,
    "allow_untrusted_routing": False,
    "parent_domain_matches_subdomains": (),
    "show_user_unknown_table_name": True,
    "empty_address_relayhost_maps_lookup_key": "<>",
    "empty_address_default_transport_maps_lookup_key": "<>",
}
LISTS = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")


def resolve_settings(**given) -> ResolveSettings:
    return ResolveSettings(**(DEFAULTS | {name: value for name, value in given.items() if name in DEFAULTS}))


def envelope_settings(**given) -> EnvelopeSettings:
    known = DEFAULTS | {"always_bcc": "", "enable_original_recipient": True} | given
    return EnvelopeSettings(**{field.name: known[field.name] for field in fields(EnvelopeSettings)})


def make_maps(text: str) -> Lookup:
    return Maps(text)


def make_resolver(remember: int = 0, **given) -> Resolver:
    """`given` is main.cf: lists and transport_maps as text, and own_addresses."""
    parents = given.get("parent_domain_matches_subdomains", ())
    lists = {name: DomainMatcher(given.get(name, ""), name in parents) for name in LISTS}
    maps = make_maps(given.get("transport_maps", ""))
    lookups = ResolveLookups(**lists, transport_maps=maps, own_addresses=given.get("own_addresses", ()))
    return Resolver(resolve_settings(**given), lookups, remember)
