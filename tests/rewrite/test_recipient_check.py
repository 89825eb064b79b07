"""Recipient validation by class, key forms and order, as smtpd_check_rcpt does."""

import pytest
from rewrite_parts import make_maps, make_resolver, resolve_settings

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.recipients import RecipientCheck, RecipientMaps
from fastrelay.tables.table import TableError

LISTS = {
    "mydestination": "local.example",
    "relay_domains": "relay.example",
    "virtual_mailbox_domains": "box.example",
    "virtual_alias_domains": "alias.example",
    "recipient_delimiter": "+",
    "myorigin": "local.example",
}


def make_check(local="", box="", relay="", aliases="", **main):
    given = LISTS | main
    maps = RecipientMaps((make_maps(aliases),), make_maps(local), make_maps(box), make_maps(relay))
    return RecipientCheck(resolve_settings(**given), make_resolver(**given), maps)


def problem(check, address):
    local, _, domain = address.rpartition(b"@")
    return check.problem(Address(local, domain))


@pytest.mark.parametrize(
    ("maps", "address", "known"),
    [
        ({"local": "inline:{moi=x}"}, b"moi@local.example", True),
        ({"local": "inline:{moi=x}"}, b"MOI@local.example", True),
        ({"local": "inline:{moi=x}"}, b"moi+ext@local.example", True),
        ({"local": "inline:{moi@local.example=x}"}, b"moi@local.example", True),
        ({"local": "inline:{@local.example=x}"}, b"anyone@local.example", True),
        ({"local": "inline:{moi=x}"}, b"other@local.example", False),
        ({"local": "inline:{moi=x}"}, b"postmaster@local.example", True),
        ({"local": "inline:{moi=x}"}, b"MAILER-DAEMON@local.example", True),
        ({"local": "inline:{moi=x}"}, b"double-bounce@local.example", True),
        ({"local": ""}, b"anyone@local.example", True),
        ({"relay": "inline:{u@relay.example=x}"}, b"u@relay.example", True),
        ({"relay": "inline:{u@relay.example=x}"}, b"u+ext@relay.example", True),
        ({"relay": "inline:{u=x}"}, b"u@relay.example", False),
        ({"relay": "inline:{@relay.example=x}"}, b"any@relay.example", True),
        ({"box": "inline:{u@box.example=d/}"}, b"u@box.example", True),
        ({"box": "inline:{u@box.example=d/}"}, b"v@box.example", False),
        ({"aliases": "inline:{a@alias.example=b@x}"}, b"a@alias.example", True),
        ({"aliases": "inline:{a@alias.example=b@x}"}, b"b@alias.example", False),
        (
            {"aliases": "inline:{r@relay.example=b@x}", "relay": "inline:{u@relay.example=x}"},
            b"r@relay.example",
            True,
        ),
        ({}, b"anyone@outside.example", True),
    ],
)
def test_known(maps, address, known):
    assert (problem(make_check(**maps), address) is None) is known


@pytest.mark.parametrize(
    ("maps", "address", "text"),
    [
        ({"local": "inline:{moi=x}"}, b"o@local.example", b"User unknown in local recipient table"),
        ({"relay": "inline:{moi=x}"}, b"o@relay.example", b"User unknown in relay recipient table"),
        ({"box": "inline:{moi=x}"}, b"o@box.example", b"User unknown in virtual mailbox table"),
        ({}, b"o@alias.example", b"User unknown in virtual alias table"),
    ],
)
def test_text_names_the_table(maps, address, text):
    found = problem(make_check(**maps), address)
    assert (found.dsn, found.text) == (b"5.1.1", text)
    quiet = problem(make_check(**maps, show_user_unknown_table_name=False), address)
    assert quiet.text == b"User unknown"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("error:5.1.6 moved", (b"5.1.6", b"moved", False)),
        ("error:gone", (b"5.1.1", b"gone", False)),
        ("retry:4.2.1 later", (b"4.2.1", b"later", True)),
        ("error:4.3.2 odd", (b"5.3.2", b"odd", False)),
    ],
)
def test_error_transport_refuses_at_rcpt(value, expected):
    check = make_check(transport_maps=f"inline:{{ {{x.example={value}}} }}")
    found = problem(check, b"u@x.example")
    assert (found.dsn, found.text, found.temporary) == expected


def test_broken_table_never_reads_as_unknown():
    with pytest.raises(TableError):
        problem(make_check(local="dbm:/nowhere"), b"moi@local.example")
