"""What a session does with the envelope that the mapping gives back, or does not; bare sessions, real tables."""

from __future__ import annotations

import pytest

from fastrelay.receive._session import Status
from support.receive_lab import ReceiveLab

NOW = 1_700_000_000.0
MAPS = {
    "virtual_alias_maps": "inline:{{u@relay.example=v@relay.example, w@relay.example}, loop@relay.example=loop2@x,"
    " loop2@x=loop@relay.example, sick@relay.example=()}",
    "virtual_alias_domains": "",
    "sender_canonical_maps": "inline:{s@client.example=sender@there.example}",
    "always_bcc": "all@relay.example",
    "always_add_missing_headers": "yes",
    "mynetworks": "127.0.0.0/8",
}


def receive(lab, sender=b"s@client.example", *recipients):
    session = lab.session()
    lines = [b"EHLO c", b"MAIL FROM:<%b>" % sender, *(b"RCPT TO:<%b>" % r for r in recipients), b"DATA"]
    for line in lines:
        assert session.feed(line + b"\r\n", NOW) == Status.NEED_DATA
    session.output()
    return session, session.feed(b"Subject: x\r\n\r\nbody\r\n.\r\n", NOW)


def stored(session):
    _, envelope, content = session.take_message()
    return envelope, b"".join(map(bytes, content))


def test_the_mapped_envelope_is_stored():
    session, status = receive(ReceiveLab(MAPS), b"s@client.example", b"u@relay.example")
    assert status == Status.MESSAGE_READY
    envelope, content = stored(session)
    assert envelope.sender == b"sender@there.example"
    assert [(r.address, r.original) for r in envelope.recipients] == [
        (b"v@relay.example", b"u@relay.example"),
        (b"w@relay.example", b"u@relay.example"),
        (b"all@relay.example", b"all@relay.example"),
    ]
    assert b"\r\n\tfor <u@relay.example>;" in content  # Received has what the client said
    assert b"\r\nFrom: sender@there.example\r\n" in content


@pytest.mark.parametrize(
    ("recipient", "reply", "warning"),
    [
        (b"loop@relay.example", b"451 4.6.0 Alias expansion error", b"unreasonable virtual_alias_maps map nesting"),
        (b"sick@relay.example", b"451 4.3.0 Error: queue file write error", b"virtual_alias_maps map lookup problem"),
    ],
)  # fmt: skip
def test_a_mapping_that_fails_stores_nothing(recipient, reply, warning):
    lab = ReceiveLab(MAPS)
    session, status = receive(lab, b"s@client.example", recipient)
    queue_id = session.transaction.queue_id
    assert (status, session.output()) == (Status.NEED_DATA, reply + b"\r\n")
    assert session.take_message() is None
    assert (lab.lines[-1][0], lab.lines[-1][1][:9]) == (b"cleanup", b"warning: ")
    assert warning in lab.log[-1]
    assert queue_id == b""  # the transaction has ended
    assert session.feed(b"MAIL FROM:<a@b.example>\r\n", NOW) == Status.NEED_DATA
    assert session.output() == b"250 2.1.0 Ok\r\n"


def test_duplicates_go_after_the_expansion():
    lab = ReceiveLab(MAPS)
    session, _ = receive(
        lab, b"", b"v@relay.example", b"u@relay.example", b"U@relay.example", b"v@relay.example"
    )
    envelope, _ = stored(session)
    assert [(r.address, r.original) for r in envelope.recipients[:-1]] == [
        (b"v@relay.example", b"v@relay.example"),
        (b"v@relay.example", b"u@relay.example"),
        (b"w@relay.example", b"u@relay.example"),
    ]


def test_receive_override_options_leave_addresses_alone():
    lab = ReceiveLab(MAPS | {"receive_override_options": "no_address_mappings, no_unknown_recipient_checks"})
    assert lab.service.rules.checks[5] is None
    session, _ = receive(lab, b"s@client.example", b"u@relay.example")
    envelope, _ = stored(session)
    assert (envelope.sender, [r.address for r in envelope.recipients]) == (
        b"s@client.example",
        [b"u@relay.example"],
    )


@pytest.mark.parametrize("main", [{}, {"always_bcc": "all@relay.example"}])
def test_the_bounce_sender_becomes_null(main):
    lab = ReceiveLab(main | {"mynetworks": "127.0.0.0/8", "myorigin": "Origin.example"})
    for sender, kept in ((b"mailer-daemon", b""), (b"MAILER-DAEMON@ORIGIN.example", b"")):
        session, _ = receive(lab, sender, b"u@relay.example")
        assert stored(session)[0].sender == kept
    session, _ = receive(lab, b"MAILER-DAEMON@x.example", b"u@relay.example")
    assert stored(session)[0].sender == b"MAILER-DAEMON@x.example"


@pytest.mark.parametrize(
    ("yes", "path", "stored_as"),
    [
        ("resolve_numeric_domain", b"<u@192.0.2.7>", b"u@[192.0.2.7]"),
        ("resolve_numeric_domain", b"<u@192.0.2.7.> NOTIFY=NEVER", b"u@[192.0.2.7]"),
        ("resolve_numeric_domain", b" u@192.0.2.7", b"u@[192.0.2.7]"),
        ("resolve_numeric_domain", b"<u@192.0.2.700>", None),
        ("resolve_numeric_domain", b"<u@192.0.2>", None),
        ("resolve_numeric_domain", b'<"u@192.0.2.7>"@192.0.2.8>', None),
        ("resolve_numeric_domain", b"<u@>", None),
        ("resolve_null_domain", b"<u@>", b"u@mx.local.example"),
        ("resolve_null_domain", b"<u@192.0.2.7>", None),
        ("resolve_null_domain", b"<@>", None),
    ],
)
def test_domains_that_main_cf_lets_pass(yes, path, stored_as):
    session = ReceiveLab({yes: "yes", "mynetworks": "127.0.0.0/8"}).session()
    for line in (b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:" + path):
        session.feed(line + b"\r\n", NOW)
    replies = session.output().splitlines()
    assert replies[-1][:3] == (b"501" if stored_as is None else b"250")
    assert [r.address for r in session.transaction.recipients] == ([stored_as] if stored_as else [])
    plain = ReceiveLab({"mynetworks": "127.0.0.0/8"}).session()
    for line in (b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:" + path):
        plain.feed(line + b"\r\n", NOW)
    assert plain.output().splitlines()[-1].startswith(b"501 5.1.3 ")


def test_nothing_is_asked_where_nothing_is_configured():
    assert ReceiveLab().service.rules.checks[5] is None
