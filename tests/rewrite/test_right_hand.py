"""What stands right of a virtual or canonical entry: READ is what Debian's Postfix 3.7 made of these texts."""

import pytest
from rewrite_parts import resolve_settings

from fastrelay.rewrite._address import Address
from fastrelay.rewrite.right_hand import complete, read_addresses

SETTINGS = resolve_settings(myorigin="origin.test")
READ = {
    "a b": ["a@origin.test", "b@origin.test"],
    "a@x.test b@y.test": ["a@x.test", "b@y.test"],
    "a@x.test,b@y.test": ["a@x.test", "b@y.test"],
    "a,,b": ["a@origin.test", "b@origin.test"],
    "a;b": ["a@origin.test", "b@origin.test"],
    "Foo Bar <a@x.test>": ["a@x.test"],
    "<a@x.test>, <b>": ["a@x.test", "b@origin.test"],
    '"a b"@x.test': ['"a b"@x.test'],
    "a(comment)@x.test, (c (d)) b": ["a@x.test", "b@origin.test"],
    "grp: a, b@x.test;": ["a@origin.test", "b@x.test"],
    "a:b@x.test": ['"a:b"@x.test'],
    ":include:/x": ['":include:/x"@origin.test'],
    "|prog arg": ["|prog@origin.test", "arg@origin.test"],
    "/file": ["/file@origin.test"],
    "a@b@c.test": ['"a@b"@c.test'],
    "a\\@b@x.test": ['"a@b"@x.test'],
    '"a@x.test"': ['"a@x.test"@origin.test'],
    '"\\"q"@x.test': ['"\\"q"@x.test'],
    "a@X.Test.": ["a@x.test"],
    "u%d.test": ["u@d.test"],
    "d.test!u": ["u@d.test"],
    "a..b@x.test": ['"a..b"@x.test'],
    "a.@x.test": ['"a."@x.test'],
    "a@[1.2.3.4]": ["a@[1.2.3.4]"],
    "a[b@x.test": ["a@origin.test", '"[b@x.test]"@origin.test'],
    'a"b"c@x.test': ["a@origin.test", "b@origin.test", "c@x.test"],
    "a . b @ x . test": ["a.b@x.test"],
    "a@x y": ["a@x", "y@origin.test"],
    "a@x.test>": ["a@x.test"],
    "<a@x.test": ['"<a"@x.test'],
    "@r.test:u@d.test": ["u@d.test"],
    "é@x.test": ["é@x.test"],
    "<>": [""],
    '""': [""],
    "@": [""],
    "": [],
    ",": [],
    "(only)": [],
}


@pytest.mark.parametrize("text", READ)
def test_read(text):
    assert [address.external.decode() for address in read_addresses(text.encode(), SETTINGS)] == READ[text]


@pytest.mark.parametrize(
    "text",
    ['"a\r\nRCPT TO:<evil@x.test>"@x.test', 'a@"x> SIZE=1"', "a@x\r\nDATA", "a@\x00b", "a@b<c", '"\\\r\n"@x'],
)
def test_nothing_in_a_table_ends_a_command(text):
    for address in read_addresses(text.encode(), SETTINGS):
        assert not any(c < 32 or c == 127 for c in address.external)
        assert not set(address.domain) & set(b'<> "\\(),;')


def test_what_is_no_domain_stays_unresolvable():
    assert [a.external for a in read_addresses(b"a@, b@x..test", SETTINGS)] == [b"a@.", b"b@x..test"]


def test_origin_and_domain_are_appended_as_main_cf_says():
    own = resolve_settings(myorigin="origin.test", append_at_myorigin=False, append_dot_mydomain=True)
    assert [a.external for a in read_addresses(b"a, b@host, c@x.test, d@[::1]", own)] == [
        b"a", b"b@host.example", b"c@x.test", b"d@[::1]",
    ]  # fmt: skip
    plain = resolve_settings(myorigin="origin.test", swap_bangpath=False, allow_percent_hack=False)
    assert [a.local for a in read_addresses(b"a!b, c%d", plain)] == [b"a!b", b"c%d"]


def test_two_parts():
    assert complete(b"a", b"X.Test.", SETTINGS) == Address(b"a", b"x.test")
    assert complete(b"a", b"", SETTINGS).external == b"a@."
