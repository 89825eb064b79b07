"""How addresses are completed, which domains are ours, where mail goes."""

from fastrelay.config.declaration import choice, names, required, text, yes_no

PARAMETERS = (
    required("myorigin", "$myhostname", "The domain of addresses that have none."),
    names(
        "mydestination",
        "$myhostname, localhost.$mydomain, localhost",
        "The domains delivered with $local_transport.",
    ),
    text(
        "mynetworks",
        "",
        "The trusted clients: networks, /files and tables; they may relay.",
        computed="what mynetworks_style makes of this machine's addresses",
    ),
    choice(
        "mynetworks_style",
        "${{$compatibility_level} <level {2} ? {subnet} : {host}}",
        ("host", "subnet", "class"),
        "How to make the default of mynetworks from this machine's addresses.",
    ),
    names(
        "parent_domain_matches_subdomains",
        "debug_peer_list,fast_flush_domains,mynetworks,permit_mx_backup_networks,"
        "qmqpd_authorized_clients,relay_domains,smtpd_access_maps",
        "The parameters in which example.com matches its subdomains too.",
    ),
    yes_no("append_at_myorigin", "yes", "Complete an address without domain with @$myorigin."),
    yes_no(
        "append_dot_mydomain",
        "${{$compatibility_level} <level {1} ? {yes} : {no}}",
        "Complete a domain without dot with .$mydomain.",
    ),
    yes_no("swap_bangpath", "yes", "Rewrite site!user to user@site."),
    yes_no("allow_percent_hack", "yes", "Rewrite user%domain to user@domain."),
    yes_no("allow_untrusted_routing", "no", "Let strangers relay with user@domain@site and the like."),
    yes_no("resolve_dequoted_address", "yes", "Look for routing inside quoted local parts."),
    yes_no("resolve_numeric_domain", "no", "Take user@1.2.3.4 for user@[1.2.3.4] and do not refuse it."),
    yes_no("resolve_null_domain", "no", "Take user@ for user@$myhostname and do not refuse it."),
    text("empty_address_recipient", "MAILER-DAEMON", "Who gets mail that is addressed to <>."),
    names(
        "recipient_delimiter", "", "The characters that separate a user from the extension, as in user+list."
    ),
    names(
        "relay_domains",
        "${{$compatibility_level} <level {2} ? {$mydestination} : {}}",
        "The domains that are relayed for strangers, delivered with $relay_transport.",
    ),
    names("relay_recipient_maps", "", "The tables of addresses that exist in $relay_domains; empty: all do."),
    names(
        "local_recipient_maps",
        "proxy:unix:passwd.byname $alias_maps",
        "The tables of addresses that exist in $mydestination; empty: all do.",
    ),
    names(
        "virtual_alias_domains",
        "$virtual_alias_maps",
        "The domains whose addresses are all aliases of others.",
    ),
    names("virtual_alias_maps", "$virtual_maps", "The tables that send an address to other addresses."),
    names("transport_maps", "", "The tables of transport:nexthop by recipient address or domain."),
    required("default_transport", "smtp", "transport[:nexthop] for other domains."),
    required("relay_transport", "relay", "transport[:nexthop] for $relay_domains."),
    required("local_transport", "local:$myhostname", "transport[:nexthop] for $mydestination."),
    required("virtual_transport", "virtual", "transport[:nexthop] for $virtual_mailbox_domains."),
    text("relayhost", "", "The next hop of other domains' mail: host, [host], host:port."),
    yes_no("show_user_unknown_table_name", "yes", "Name the table in the reply to an unknown recipient."),
)
