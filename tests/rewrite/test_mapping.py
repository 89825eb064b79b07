"""Each mapping alone: key forms, extensions, limits, failures; test_scenario_rewriting compares with Postfix."""

import pytest
from rewrite_parts import envelope_settings, make_maps, resolve_settings

from fastrelay.borders import Notify, Recipient
from fastrelay.rewrite._address import Address, from_external
from fastrelay.rewrite.canonical import Masquerade, OneToOne, OneToOneParts
from fastrelay.rewrite.envelope import EnvelopeMapping, EnvelopeParts
from fastrelay.rewrite.lookup import AddressKeys, AddressMaps
from fastrelay.rewrite.mapping import AddressTable, MappingFailed, Trouble, Warnings, Where
from fastrelay.rewrite.virtual import ExpansionLimits, VirtualAliases
from fastrelay.tables.matching import StringMatcher
from fastrelay.tables.table import TableError

SETTINGS = resolve_settings(myorigin="origin.test")
SENDER, RECIPIENT = Where.ENVELOPE_SENDER, Where.ENVELOPE_RECIPIENT
HEADERS = ("header_sender", "header_recipient")


class Recorder:
    """A Lookup that knows what it was asked."""

    def __init__(self, **values):
        self.values = {key.encode(): value.encode() for key, value in values.items()}
        self.asked = []
        self.tables = (self,)
        self.pattern = False

    def get(self, key):
        self.asked.append(key.decode())
        return self.values.get(key.lower())

    find = get


def make_keys(delimiters="+-"):
    return AddressKeys(delimiters, True, "origin.test", lambda domain: domain == b"local.test")


def table(maps, propagate=True, title="canonical_maps"):
    maps = make_maps(maps) if isinstance(maps, str) else maps
    return AddressTable(title, maps, make_keys(), SETTINGS, propagate, TableError)


def one_to_one(canonical="", sender="", recipient="", masquerade=(), exceptions="", classes=None):
    everywhere = tuple(where.value for where in Where)
    return OneToOne(
        OneToOneParts(
            table(sender, title="sender_canonical_maps"),
            ("envelope_sender", "header_sender"),
            table(recipient, title="recipient_canonical_maps"),
            ("envelope_recipient", "header_recipient"),
            table(canonical),
            everywhere if classes is None else classes,
            Masquerade(masquerade, StringMatcher(exceptions), TableError),
            ("envelope_sender", *HEADERS),
        )
    )


def mapped(mapping, address, where=SENDER):
    return mapping.map(from_external(address.encode()), where, Warnings()).external.decode()


def make_envelope(canonical="", aliases="", sender_bcc="", recipient_bcc="", **main):
    parts = EnvelopeParts(
        one_to_one(canonical),
        VirtualAliases(table(aliases, title="virtual_alias_maps"), ExpansionLimits(10, 5, 100)),
        make_maps(sender_bcc),
        make_maps(recipient_bcc),
        make_keys(),
        TableError,
    )
    return EnvelopeMapping(envelope_settings(myorigin="origin.test", **main), parts)


def recipients(mapping, *given, sender="s@c.test", add_bcc=True):
    """(address, original, notify) of each."""
    found = mapping.map(from_external(sender.encode()), [make_recipient(one) for one in given], add_bcc)
    return [(r.address.decode(), r.original.decode(), r.notify) for r in found.recipients]


def make_recipient(given):
    return given if isinstance(given, Recipient) else Recipient(given.encode(), given.encode())


@pytest.mark.parametrize(
    ("address", "keys"),
    [
        (b"u@x.test", ["u@x.test", "@x.test"]),
        (b"U+e-f@x.test", ["U+e-f@x.test", "U@x.test", "@x.test"]),
        (b"u+e@local.test", ["u+e@local.test", "u@local.test", "u+e", "u", "@local.test"]),
        (b"u@origin.test", ["u@origin.test", "u", "@origin.test"]),
        (b'"a..b+c"@local.test', ['"a..b+c"@local.test', '"a..b"@local.test', '"a..b+c"', '"a..b"', "@local.test"]),
        (b"owner-x-y@x.test", ["owner-x-y@x.test", "@x.test"]),
        (b"", ['""']),
    ],
)  # fmt: skip
def test_keys_of_what_rewrites(address, keys):
    """As a memcache server saw cleanup(8) ask."""
    maps = Recorder()
    assert table(maps).find(from_external(address), Warnings()) is None
    assert maps.asked == keys


def test_keys_of_what_only_looks_are_tried_without_quotes_too():
    maps = Recorder()
    address = from_external(b'"a..b+c"@local.test')
    assert make_keys().find(AddressMaps(maps), address) is None
    assert maps.asked == [
        '"a..b+c"@local.test', "a..b+c@local.test", '"a..b"@local.test', "a..b@local.test",
        '"a..b+c"', "a..b+c", '"a..b"', "a..b", "@local.test",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("maps", "address", "result"),
    [
        ("inline:{a@x.test=b@y.test}", "a@x.test", "b@y.test"),
        ("inline:{a@x.test=b@y.test}", "a+e@x.test", "b+e@y.test"),
        ("inline:{@x.test=@y.test}", "a+e@x.test", "a+e@y.test"),
        ("inline:{a@x.test=@y.test}", "a+e@x.test", "a+e@y.test"),
        ("inline:{@x.test=b@y.test}", "a+e@x.test", "b@y.test"),
        ("inline:{a=b}", "a@local.test", "b@origin.test"),
        ("inline:{a=b}", "a@x.test", "a@x.test"),
        ("regexp:{{/^(.*)@x.test$/ $1@y.test}}", "a+e@x.test", "a+e@y.test"),
        ("inline:{a@x.test=b@x.test, b@x.test=c@x.test}", "a@x.test", "c@x.test"),
        ("inline:{a@x.test=A@x.test}", "a@x.test", "A@x.test"),
    ],
)
def test_canonical(maps, address, result):
    assert mapped(one_to_one(maps), address) == result


def test_extension_is_dropped_where_it_is_not_propagated():
    found = table("inline:{a@x.test=b@y.test}", propagate=False).find(
        from_external(b"a+e@x.test"), Warnings()
    )
    assert found == [Address(b"b", b"y.test")]


def test_canonical_goes_on_after_ten_steps():
    warnings = Warnings()
    steps = ", ".join(f"n{i}@x.test=n{i + 1}@x.test" for i in range(20))
    mapping = one_to_one(f"inline:{{{steps}}}")
    assert mapping.map(from_external(b"n0@x.test"), SENDER, warnings) == Address(b"n10", b"x.test")
    text = b"unreasonable canonical_maps map nesting for n10@x.test -- message not accepted, try again later"
    assert warnings.lines(b"ID") == [b"ID: " + text]


def test_classes_say_where_tables_hold():
    mapping = one_to_one("inline:{a@x.test=c@x.test}", classes=("header_sender",))
    assert mapped(mapping, "a@x.test", Where.HEADER_SENDER) == "c@x.test"
    assert mapped(mapping, "a@x.test") == "a@x.test"
    assert mapping.applies(Where.HEADER_SENDER)
    assert not mapping.applies(RECIPIENT)
    sender = one_to_one(sender="inline:{a@x.test=s@x.test}", recipient="inline:{a@x.test=r@x.test}")
    assert [mapped(sender, "a@x.test", where) for where in Where] == [
        "s@x.test", "r@x.test", "s@x.test", "r@x.test",
    ]  # fmt: skip
    assert not one_to_one()


@pytest.mark.parametrize(
    ("address", "result"),
    [
        ("u@h.x.test", "u@x.test"),
        ("u@a.b.x.test", "u@x.test"),
        ("u@x.test", "u@x.test"),
        ("u@notx.test", "u@notx.test"),
        ("u@h.in.x.test", "u@h.in.x.test"),
        ("u@h.sub.x.test", "u@sub.x.test"),
        ("ROOT@h.x.test", "ROOT@h.x.test"),
        ("", ""),
    ],
)
def test_masquerading(address, result):
    mapping = one_to_one(masquerade=("!in.x.test", "sub.x.test", "X.test"), exceptions="root")
    assert mapped(mapping, address) == result
    assert mapped(mapping, address, RECIPIENT) == address  # not in masquerade_classes


def test_a_table_that_fails_names_itself():
    for mapping in (one_to_one("fail:x"), one_to_one(masquerade=("x.test",), exceptions="fail:x")):
        with pytest.raises(MappingFailed) as failed:
            mapped(mapping, "a@h.x.test")
        assert failed.value.trouble is Trouble.LOOKUP
        *told, reason = failed.value.lines(b"ID")
        assert told
        assert all(b"fail:x" in line for line in told)
        assert reason.startswith(b"ID: ")
        assert reason.endswith(b"-- message not accepted, try again later")


def test_what_holds_no_address_is_a_problem():
    with pytest.raises(MappingFailed) as failed:
        mapped(one_to_one("inline:{a@x.test=(none)}"), "a@x.test")
    assert (
        failed.value.lines(b"ID")[0]
        == b'canonical_maps lookup of a@x.test returns non-address result "(none)"'
    )


@pytest.mark.parametrize(
    ("aliases", "found"),
    [
        ("inline:{{a@x.test=b@x.test, c@x.test}, b@x.test=d@x.test}", ["d@x.test", "c@x.test"]),
        ("inline:{{a@x.test=a@x.test, b@x.test}}", ["a@x.test", "b@x.test"]),
        ("inline:{{a@x.test=b@x.test A@X.test}, b@x.test=a@x.test}", ["a@x.test", "A@x.test"]),
        ("inline:{{a@x.test=b@x.test b@x.test}}", ["b@x.test", "b@x.test"]),
    ],
)
def test_virtual_aliases(aliases, found):
    assert [address for address, _, _ in recipients(make_envelope(aliases=aliases), "a@x.test")] == found


@pytest.mark.parametrize(
    ("aliases", "what"),
    [
        ("inline:{a@x.test=b@x.test, b@x.test=a@x.test}", b"map nesting for a@x.test"),
        ("inline:{{a@x.test=b@x.test a@x.test c@x.test}, {b@x.test=a@x.test b@x.test c@x.test}}", None),
        (f"inline:{{{{a@x.test={' '.join(f'n{i}@x.test' for i in range(11))}}}}}", b"map expansion size for a@x.test"),
        (f"inline:{{a@x.test={'l' * 100}@x.test}}", b"result " + b"l" * 100),
    ],
)  # fmt: skip
def test_expansion_has_limits(aliases, what):
    if what is None:
        assert recipients(make_envelope(aliases=aliases), "a@x.test")
        return
    with pytest.raises(MappingFailed) as failed:
        recipients(make_envelope(aliases=aliases), "a@x.test")
    assert failed.value.trouble is Trouble.EXPANSION
    assert failed.value.lines(b"ID")[-1].startswith(b"ID: unreasonable virtual_alias_maps " + what)


def test_copies_in_cleanups_order():
    mapping = make_envelope(
        canonical="inline:{s@c.test=t@c.test, rb=elsewhere@x.test}",
        aliases="inline:{a@x.test=b@x.test, sb@x.test=c@x.test}",
        sender_bcc="inline:{t@c.test=sb@x.test}",
        recipient_bcc="inline:{a@x.test=rb, rb@origin.test=never}",
        always_bcc="all",
    )
    never = Notify.NEVER
    assert recipients(mapping, "a@x.test", "z@x.test") == [
        ("c@x.test", "sb@x.test", never),
        ("b@x.test", "a@x.test", 0),
        ("elsewhere@x.test", "elsewhere@x.test", never),
        ("z@x.test", "z@x.test", 0),
        ("all@origin.test", "all@origin.test", never),
    ]
    assert recipients(mapping, "a@x.test", add_bcc=False) == [("b@x.test", "a@x.test", 0)]
    assert recipients(mapping, "z@x.test", sender="") == [
        ("z@x.test", "z@x.test", 0), ("all@origin.test", "all@origin.test", never),
    ]  # fmt: skip


def test_a_copy_that_cannot_be_looked_up_is_no_lost_copy():
    for mapping, title in (
        (make_envelope(sender_bcc="fail:x"), b"sender_bcc_maps"),
        (make_envelope(recipient_bcc="fail:x"), b"recipient_bcc_maps"),
    ):
        with pytest.raises(MappingFailed) as failed:
            recipients(mapping, "a@x.test")
        assert title + b" map lookup problem" in failed.value.lines(b"ID")[-1]


@pytest.mark.parametrize(
    ("notify", "kept"),
    [
        (Notify.SUCCESS, Notify.NEVER),
        (Notify.SUCCESS | Notify.FAILURE, Notify.FAILURE),
        (Notify.DELAY, Notify.DELAY),
        (Notify.NEVER, Notify.NEVER),
    ],
)
def test_success_ends_with_the_expansion(notify, kept):
    mapping = make_envelope(aliases="inline:{a@x.test=b@x.test}")
    given = Recipient(b"a@x.test", b"a@x.test", notify=notify)
    assert recipients(mapping, given) == [("b@x.test", "a@x.test", kept)]
    told = mapping.map(from_external(b"s@x.test"), [given], True).expanded
    assert told == ([given] if notify & Notify.SUCCESS else [])
    plain = Recipient(b"z@x.test", b"z@x.test", notify=notify)
    assert recipients(mapping, plain) == [("z@x.test", "z@x.test", notify)]


def test_without_original_recipients_duplicates_go():
    aliases = "inline:{a@x.test=D@x.test, b@x.test=d@x.test}"
    given = ("a@x.test", "b@x.test", "d@x.test")
    assert len(recipients(make_envelope(aliases=aliases), *given)) == 3
    mapping = make_envelope(aliases=aliases, enable_original_recipient=False)
    assert recipients(mapping, *given) == [("D@x.test", "a@x.test", 0)]


def test_the_bounce_sender_becomes_null():
    mapping = make_envelope(aliases="inline:{x=y}")
    for sender, stored in (
        ("MAILER-DAEMON@origin.test", ""),
        ("MAILER-DAEMON@x.test", "MAILER-DAEMON@x.test"),
    ):
        assert mapping.map(from_external(sender.encode()), [], False).sender.external.decode() == stored


def test_the_empty_recipient_is_somebody():
    mapping = make_envelope(canonical="inline:{a@x.test=<>}")
    assert recipients(mapping, "a@x.test") == [("MAILER-DAEMON@host.example", "a@x.test", 0)]


def test_nothing_configured_is_false():
    assert not make_envelope()
    assert make_envelope(always_bcc="a")
    assert make_envelope(recipient_bcc="inline:{a=b}")
    assert make_envelope(canonical="inline:{a=b}")
    assert make_envelope(enable_original_recipient=False)
