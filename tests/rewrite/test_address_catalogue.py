"""The relay and address tables (C and D) of the hostile-input catalogue, as data.

Each row is (path, what smtpd answers): the parser, the rewriter and the relay decision in the order in
which the receive path asks them.
"""

import pytest
from rewrite_parts import make_resolver, resolve_settings

from fastrelay.rewrite._address import Address, PathResult, parse_path
from fastrelay.rewrite.address import Rewriter

OWN = {
    "mydestination": "local.example",
    "relay_domains": "relay.example kiss.example",
    "own_addresses": ("127.0.0.1", "::1"),
    "myorigin": "origin.example",
}
RECIPIENTS = [
    (b"<u@relay.example>", 250),
    (b"<u@outside.example>", 554),  # C01
    (b"<u%outside.example@relay.example>", 554),  # C02
    (b"<u%outside.example@local.example>", 554),
    (b"<u%outside.example@[127.0.0.1]>", 554),
    (b'<"u@outside.example">', 554),  # C03
    (b'<"u%outside.example">', 554),  # C04
    (b"<u@outside.example@relay.example>", 554),  # C05
    (b'<"u@outside.example"@relay.example>', 554),  # C06
    (b'<"u@outside.example"@[127.0.0.1]>', 554),
    (b'<"u@outside.example"@local.example>', 554),
    (b'<"u%outside.example"@relay.example>', 554),  # C07
    (b"<@relay.example:u@outside.example>", 554),  # C08
    (b"<@[127.0.0.1]:u@outside.example>", 554),
    (b"<@relay.example,@x:u@outside.example>", 554),
    (b"<outside.example!u>", 554),  # C09
    (b"<outside.example!u@relay.example>", 554),  # C10
    (b"<outside.example!u@local.example>", 554),
    (b"<outside.example!u@[127.0.0.1]>", 554),
    (b'<"outside.example!u"@local.example>', 554),
    (b"<relay.example!u%outside.example>", 554),  # C11
    (b"<u%outside.example%x@relay.example>", 554),
    (b"<u%relay.example@outside.example>", 554),  # C12
    (b"<u@relay.example@outside.example>", 554),
    (b"<u@outside.example\\@relay.example>", 501),  # C13
    (b"<u@outside.example,relay.example>", 501),  # C14
    (b"<u@relay.example,u@outside.example>", 501),
    (b"<u@relay.example.outside.example>", 554),  # C15
    (b"<u@xrelay.example>", 554),
    (b"<u@relay.example\x00@outside.example>", 501),  # C16
    (b"<u@#127.0.0.1>", 501),  # C17
    (b"<u@127.0.0.1>", 501),
    (b"<u@2130706433>", 501),
    (b"<u@[::1]>", 501),
    (b"<u@[IPv6:2001:db8::1]>", 554),  # C18
    (b"<u@[IPv6:::1]>", 250),  # our own address here
    (b"<u@xn--zzzz-.example>", 501),  # C21
    (b"<u@sub.relay.example>", 554),  # C23, sub-domains not configured
    (b"<u@RELAY.EXAMPLE>", 250),  # C24
    (b"<u@relay.example.>", 250),
    (b"<u@ relay.example>", 501),
    (b"<>", 501),
]
LOOKALIKES = [
    *(
        "u@ｒelay.example",
        "u@relay。example",
        "u@relay．example",
        "u@relay\u200d.example",
        "u@relay\u200c.example",
    ),
    *(
        "u@re\u00adlay.example",
        "u@relay\u200b.example",
        "u@ki\u017fs.example",
        "u@\u212aiss.example",
    ),
]
SENDERS = [
    *(
        (path, 501)
        for path in (b"<@>", b"<a@sender..example>", b"<a@-x.example>", b"<a@[1.2.3]>", b"<a@1.2.3.4>")
    ),  # D01
    (b"<a@" + b"l" * 64 + b".example>", 501),
    (b"<a@" + b".".join([b"l" * 50] * 6) + b">", 501),
    *((path, 501) for path in (b"<a@sender.example", b"<a@x.example>garbage", b"<a@x><b@y>")),  # D02
    *((path, 501) for path in (b"<<a@x>>", b"<a@x>>", b'<"">')),  # D03, refused in both modes
    *((path, 501) for path in (b"<-oQ/x@x>", b"<;id;@x>", b"<a\tb@x>")),  # D04
    (b"<|/bin/sh@x>", 250),
    (b"<x'/**/UNION--@x>", 250),
    (b"<" + b"l" * 65 + b"@x>", 250),  # D05
    (b"<" + b"l" * 600 + b"@x>", 501),
    (b"<" + b"l" * 3000 + b"@x>", 501),
    (b"<\xc3\xa9@x.example>", 553),  # D14
    (b"<\xff@x.example>", 500),  # A32
    (b"<>", 250),
    (b" user@x.example", 250),
    (b"user@x.example", 250),
]
STRICT_SENDERS = [b"<a@b@c>", b"<.a@x>", b"<a..b@x>", b"<a.@x>", b'<"a".b@x>', b"a@x"]


def reply(path, smtputf8=False, allow_null=False, strict=False):
    """The reply code that the result of the parser stands for."""
    found = parse_path(path, smtputf8=smtputf8, allow_null=allow_null, strict=strict)
    if isinstance(found, Address):
        return 250, found
    codes = {PathResult.PATH_UTF8_LOCAL: 553, PathResult.PATH_BAD_UTF8: 500}
    return codes.get(found, 501), None


def recipient_reply(path, smtputf8=False, **settings):
    code, address = reply(path, smtputf8)
    if address is None:
        return code
    resolver = make_resolver(**(OWN | settings))
    complete = Rewriter(resolve_settings(**(OWN | settings))).envelope(address)
    return 250 if resolver.is_authorized_destination(complete) else 554


@pytest.mark.parametrize(("path", "code"), RECIPIENTS)
def test_recipient(path, code):
    assert recipient_reply(path) == code


@pytest.mark.parametrize(("path", "code"), RECIPIENTS)
def test_recipient_without_old_notations(path, code):
    """Switching the notations off makes them local names or stays refused; it never opens a relay."""
    code_without = recipient_reply(path, swap_bangpath=False, allow_percent_hack=False)
    assert code_without == code or (code_without == 554 and code == 554)


@pytest.mark.parametrize("path", LOOKALIKES)
def test_lookalike_domains_are_foreign(path):
    """C19 and C20: no mapping before matching."""
    assert recipient_reply(b"<" + path.encode() + b">", smtputf8=True) == 554
    assert recipient_reply(b"<" + path.encode() + b">") == 501


def test_fullwidth_operators_are_no_operators():
    """C22"""
    assert recipient_reply("<u＠relay.example>".encode(), smtputf8=True) == 501
    assert recipient_reply("<u％outside.example@relay.example>".encode(), smtputf8=True) == 250


@pytest.mark.parametrize(("path", "code"), SENDERS)
def test_sender(path, code):
    assert reply(path, allow_null=True)[0] == code


@pytest.mark.parametrize("path", STRICT_SENDERS)
def test_strict_refuses_what_is_no_rfc_path(path):
    assert reply(path)[0] == 250
    assert reply(path, strict=True)[0] == 501


@pytest.mark.parametrize("text", ["e\u0301", "\U0001f600", "ö"])
def test_utf8_local_part_is_kept(text):
    """D15"""
    _, address = reply(f"<{text}@x.example>".encode(), smtputf8=True)
    assert address is not None
    assert address.external == f"{text}@x.example".encode()


@pytest.mark.parametrize("text", ["\u202e", "\u2028", "\u0085", "\u2066", "\u061c"])
def test_unsafe_characters_are_refused(text):
    assert reply(f"<a{text}@x.example>".encode(), smtputf8=True)[0] == 501


def test_postmaster_needs_no_domain():
    """C25, also when strict"""
    for path in (b"<postmaster>", b"<Postmaster>"):
        assert reply(path, strict=True)[0] == 250
