"""Tables that put other addresses in the place of those given, and recipients that are added."""

from fastrelay.config.declaration import Parameter, integer, names, text, yes_no

_PLACES = ("envelope_sender", "envelope_recipient", "header_sender", "header_recipient")
_PLACE = "|".join(_PLACES)


def classes(name: str, default: str, doc: str) -> Parameter:
    return names(
        name,
        default,
        doc,
        pattern=rf"(?i)[\s,]*((?:{_PLACE})(?:[\s,]+(?:{_PLACE}))*[\s,]*)?",
        pattern_doc="some of " + ", ".join(_PLACES),
    )


PARAMETERS = (
    names("canonical_maps", "", "The tables that replace an address by another, in envelopes and headers."),
    names("sender_canonical_maps", "", "The same for senders, asked before canonical_maps."),
    names("recipient_canonical_maps", "", "The same for recipients, asked before canonical_maps."),
    classes("canonical_classes", ", ".join(_PLACES), "Where canonical_maps hold."),
    classes(
        "sender_canonical_classes", "envelope_sender, header_sender", "Where sender_canonical_maps hold."
    ),
    classes(
        "recipient_canonical_classes",
        "envelope_recipient, header_recipient",
        "Where recipient_canonical_maps hold.",
    ),
    names("masquerade_domains", "", "The domains that take the place of those below them; !domain stays."),
    names("masquerade_exceptions", "", "The user names whose domain is never masqueraded."),
    classes(
        "masquerade_classes",
        "envelope_sender, header_sender, header_recipient",
        "Where masquerade_domains hold.",
    ),
    names(
        "propagate_unmatched_extensions",
        "canonical, virtual",
        "The tables whose results take over an address's extension: canonical, virtual, generic.",
    ),
    integer(
        "virtual_alias_expansion_limit",
        "1000",
        "How many addresses one may stand for in virtual_alias_maps.",
        minimum=1,
    ),
    integer("virtual_alias_recursion_limit", "1000", "How many steps the expansion may take.", minimum=1),
    integer(
        "virtual_alias_address_length_limit",
        "1000",
        "The longest address that the expansion may have.",
        unit="bytes",
        minimum=1,
    ),
    names("relocated_maps", "", "The tables of users that have moved, and where to."),
    names("sender_dependent_relayhost_maps", "", "The tables that take the place of relayhost, by sender."),
    names(
        "sender_dependent_default_transport_maps",
        "",
        "The tables that take the place of default_transport, by sender.",
    ),
    text(
        "empty_address_relayhost_maps_lookup_key",
        "<>",
        "What sender_dependent_relayhost_maps are asked for the null sender.",
    ),
    text(
        "empty_address_default_transport_maps_lookup_key",
        "<>",
        "What sender_dependent_default_transport_maps are asked for the null sender.",
    ),
    names("smtp_generic_maps", "", "The tables of addresses to tell servers in the place of ours."),
    text("always_bcc", "", "An address that gets a copy of all mail that comes in."),
    names("sender_bcc_maps", "", "The tables of an address that gets a copy, by sender."),
    names("recipient_bcc_maps", "", "The tables of an address that gets a copy, by recipient."),
    yes_no(
        "enable_original_recipient",
        "yes",
        "Recipients that differ in the address that the client gave stay apart.",
    ),
)
