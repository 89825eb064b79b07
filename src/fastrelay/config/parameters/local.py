"""Delivery to Maildirs of this machine: the agents local and virtual."""

from fastrelay.config.declaration import integer, names, size, text, yes_no

PARAMETERS = (
    names(
        "alias_maps", "hash:/etc/aliases, nis:mail.aliases", "The tables of aliases that local delivers by."
    ),
    names("alias_database", "hash:/etc/aliases", "The tables that newaliases compiles."),
    yes_no(
        "expand_owner_alias",
        "no",
        "Send a list's mail in the name of whom owner-list stands for, not of owner-list itself.",
    ),
    yes_no("owner_request_special", "yes", "Names owner-x and x-request are never split at a delimiter."),
    names(
        "prepend_delivered_header",
        "command, file, forward",
        "Where a Delivered-To: header is prepended; forward: mail that an alias sends on.",
    ),
    text("home_mailbox", "", "The mailbox below a user's home directory; Maildir/ for Maildir."),
    size("mailbox_size_limit", "51200000", "The largest mailbox or Maildir message; 0: no limit."),
    names(
        "virtual_mailbox_domains", "$virtual_mailbox_maps", "The domains delivered with $virtual_transport."
    ),
    names("virtual_mailbox_maps", "", "The tables of mailboxes by recipient address."),
    text("virtual_mailbox_base", "", "The directory below which virtual mailboxes are."),
    names("virtual_uid_maps", "", "The tables of user IDs by recipient address."),
    names("virtual_gid_maps", "", "The tables of group IDs by recipient address."),
    integer("virtual_minimum_uid", "100", "The lowest user ID that virtual_uid_maps may give.", minimum=1),
    size("virtual_mailbox_limit", "51200000", "The largest virtual mailbox or Maildir message; 0: no limit."),
)
