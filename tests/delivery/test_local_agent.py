"""local(8): aliases, unknown users, loops, and mail in real Maildirs of other users."""

import os
import pwd
import re

import pytest
from mailbox_parts import FILE, LOCAL, at_origin, mailbox_settings, make_delivery, maps, run

from fastrelay.borders import Status
from fastrelay.delivery.aliases import parse_alias, split_members
from fastrelay.delivery.local import LocalAgent, LocalParts
from fastrelay.delivery.mailboxes import DirectMailboxes

ME = pwd.getpwuid(os.geteuid())


class Forwards:
    def __init__(self):
        self.calls = []

    async def __call__(self, message, recipient, addresses, header, owner):
        self.calls.append((recipient, addresses, header))
        return b"NEWID"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """This process's own user, with a home of the test's."""
    account = pwd.struct_passwd((ME.pw_name, "x", ME.pw_uid, ME.pw_gid, "", str(tmp_path), "/bin/sh"))
    lookup = {ME.pw_name: account}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: lookup[name])
    return tmp_path


def deliver(*deliveries, aliases="", warnings=None, forwards=None, **settings):
    mailboxes = DirectMailboxes(mailbox_settings(**settings))
    log = [] if warnings is None else warnings
    parts = LocalParts(maps(aliases), mailboxes, forwards or Forwards(), at_origin, log.append)
    return run(lambda report: LocalAgent(LOCAL, parts, report), *deliveries)


def address_of_me(domain=b"coco.example"):
    return ME.pw_name.encode() + b"@" + domain


def test_maildir_as_in_the_tutorial(home):
    me = address_of_me()
    [[outcome]] = deliver(make_delivery(me))
    assert (outcome.status, outcome.dsn, outcome.text, outcome.relay) == (
        Status.SENT,
        b"2.0.0",
        b"delivered to maildir",
        b"local",
    )
    [file] = (home / "Maildir/new").iterdir()
    top = b"Return-Path: <toot@cejf.example>\nX-Original-To: " + me + b"\nDelivered-To: " + me + b"\n"
    assert file.read_bytes() == top + FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"\d+\.V[0-9a-f]+I[0-9a-f]+M\d+\.host\.example", file.name)
    assert not list((home / "Maildir/tmp").iterdir())
    assert (home / "Maildir/cur").is_dir()


def test_unknown_user_bounces_as_in_the_tutorial():
    [[outcome]] = deliver(make_delivery(b"no-such-user@mailtraining.example"))
    assert (outcome.status, outcome.dsn) == (Status.BOUNCED, b"5.1.1")
    assert outcome.text == b'unknown user: "no-such-user"'


def test_recipients_of_one_delivery_have_their_own_outcomes(home):
    [outcomes] = deliver(make_delivery(address_of_me(), b"nobody-here@coco.example", address_of_me()))
    assert [outcome.status for outcome in outcomes] == [Status.SENT, Status.BOUNCED, Status.SENT]
    assert [outcome.recipient for outcome in outcomes] == [0, 1, 2]
    assert len(list((home / "Maildir/new").iterdir())) == 2


def test_names_are_folded_and_extensions_ignored(home):
    name = ME.pw_name.upper().encode()
    [[outcome]] = deliver(make_delivery(name + b"+ext@coco.example"))
    assert outcome.status is Status.SENT


def test_delivered_to_ends_a_loop():
    content = b"Received: x\r\nDELIVERED-TO: Moi@coco.example\r\n\r\nbody\r\n"
    [[outcome]] = deliver(make_delivery(b"moi@coco.example", content=content))
    assert (outcome.status, outcome.dsn) == (Status.BOUNCED, b"5.4.6")
    assert outcome.text == b"mail forwarding loop for moi@coco.example"


def test_delivered_to_in_the_body_is_no_loop(home):
    content = b"Subject: x\r\n\r\nDelivered-To: " + address_of_me() + b"\r\n"
    [[outcome]] = deliver(make_delivery(address_of_me(), content=content))
    assert outcome.status is Status.SENT


def test_alias_is_forwarded_once_with_all_members():
    forwards = Forwards()
    aliases = "inline:{ {list=moi, Other@X.Example, moi} }"
    [[outcome]] = deliver(make_delivery(b"list+ext@coco.example"), aliases=aliases, forwards=forwards)
    header = b"Delivered-To: list+ext@coco.example\r\n"
    assert forwards.calls == [(0, [b"moi@origin.example", b"Other@x.example"], header)]
    assert (outcome.status, outcome.dsn, outcome.text) == (Status.SENT, b"2.0.0", b"forwarded as NEWID")
    assert outcome.action == b"expanded"


def test_alias_that_keeps_a_copy(home):
    forwards = Forwards()
    aliases = f"inline:{{ {{{ME.pw_name}=\\{ME.pw_name}, other@x.example}} }}"
    [[outcome]] = deliver(make_delivery(address_of_me()), aliases=aliases, forwards=forwards)
    assert outcome.text == b"forwarded as NEWID"
    assert forwards.calls[0][1] == [b"other@x.example"]
    assert len(list((home / "Maildir/new").iterdir())) == 1


@pytest.mark.parametrize(
    "member", ["|/bin/cat", '"|/bin/cat -n"', "/var/mail/x", ":include:/etc/list", "bad@@,x"]
)
def test_alias_members_of_the_whole_agent_wait_and_are_logged(member):
    warnings = []
    aliases = f"inline:{{ {{list=moi, {member}}} }}"
    [[outcome]] = deliver(make_delivery(b"list@coco.example"), aliases=aliases, warnings=warnings)
    assert (outcome.status, outcome.dsn) == (Status.DEFERRED, b"4.3.5")
    assert any(b"not supported" in warning for warning in warnings)


def test_broken_alias_table_defers():
    warnings = []
    [[outcome]] = deliver(make_delivery(b"moi@coco.example"), aliases="dbm:/nowhere", warnings=warnings)
    assert (outcome.status, outcome.dsn, outcome.text) == (
        Status.DEFERRED,
        b"4.3.0",
        b"alias database unavailable",
    )
    assert b"unsupported dictionary type" in warnings[0]


def test_message_over_the_limit_bounces(home):
    [[outcome]] = deliver(
        make_delivery(address_of_me(), content=b"x" * 200 + b"\r\n"), mailbox_size_limit=100
    )
    assert (outcome.status, outcome.dsn) == (Status.BOUNCED, b"5.2.2")
    assert outcome.text == b"maildir delivery failed: error writing message: File too large"
    assert not list((home / "Maildir/tmp").iterdir())


def test_home_mailbox_that_is_no_maildir_defers(home):
    warnings = []
    [[outcome]] = deliver(make_delivery(address_of_me()), home_mailbox="", warnings=warnings)
    assert (outcome.status, outcome.dsn) == (Status.DEFERRED, b"4.3.5")
    assert b"home_mailbox" in warnings[0]


def test_contents_are_loaded_when_they_are_not_in_memory(home):
    delivery = make_delivery(address_of_me())
    delivery.message.content = None
    [[outcome]] = deliver(delivery)
    assert outcome.status is Status.SENT


def test_contents_that_cannot_be_read_defer(home):
    """They are damaged, or went with a message that was deleted after the slot had taken it."""

    def fail():
        raise LookupError("one of its frames is damaged")

    delivery = make_delivery(address_of_me(), address_of_me(b"other.example"))
    delivery.message.content, delivery.message.load = None, fail
    [outcomes] = deliver(delivery)
    assert [(o.status, o.dsn, o.text) for o in outcomes] == [
        (Status.DEFERRED, b"4.3.0", b"queue file read error")
    ] * 2


def test_members_are_split_at_commas_outside_quotes():
    assert split_members(b'a, "b,c"@x , ,d\\,e,"q\\",r"') == [b"a", b'"b,c"@x', b"d\\,e", b'"q\\",r"']


def test_alias_to_its_own_address_is_the_mailbox():
    alias = parse_alias(b"moi", b"moi@coco.example", b"MOI@coco.example, x@y.example", at_origin)
    assert alias.to_self
    assert alias.addresses == [b"x@y.example"]
