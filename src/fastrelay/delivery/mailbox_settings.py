"""What the local and virtual agents and the mailbox helper read from main.cf; field names are Postfix's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailboxSettings:
    """The helper's own limits: a worker may ask it for nothing that these do not allow."""

    myhostname: str
    home_mailbox: str
    mailbox_size_limit: int
    virtual_mailbox_base: str
    virtual_mailbox_limit: int
    virtual_minimum_uid: int


@dataclass(frozen=True, slots=True)
class LocalSettings:
    recipient_delimiter: str
    owner_request_special: bool
    expand_owner_alias: bool
    prepend_delivered_header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VirtualSettings:
    recipient_delimiter: str
    owner_request_special: bool
    virtual_minimum_uid: int
