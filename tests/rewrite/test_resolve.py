"""What resolving promises beyond Postfix's answers: sharing, caching, refusals, lookup errors."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewrite_parts import make_maps, make_resolver, resolve_settings

from fastrelay.rewrite._address import Address, parse_path
from fastrelay.rewrite.address import Rewriter
from fastrelay.rewrite.lookup import AddressMaps, split_extension
from fastrelay.rewrite.resolve import AddressClass
from fastrelay.tables.table import TableError


def test_equal_next_hops_are_one_object():
    resolver = make_resolver(
        transport_maps="inline:{a.example=smtp:[hub.example] b.example=smtp:[hub.example]}"
    )
    first = resolver.resolve(b"u@a.example")
    second = resolver.resolve(b"u@b.example")
    assert first.transport is second.transport
    assert first.next_hop is second.next_hop


def test_static_lists_are_asked_once_a_domain():
    resolver = make_resolver(relay_domains="relay.example")
    assert resolver.resolve(b"a@relay.example") == resolver.resolve(b"a@relay.example")
    assert resolver.resolve(b"a@x.example").next_hop is resolver.resolve(b"b@x.example").next_hop
    assert resolver.is_authorized_destination(Address(b"a", b"relay.example"))
    assert not resolver.is_authorized_destination(Address(b"a%b", b"relay.example"))


def compile_table(source):
    for name in ("main.cf", "master.cf"):
        (source.parent / name).touch()
    command = [sys.executable, "-m", "fastrelay", "-c", source.parent, "postmap", f"hash:{source}"]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("parameter", ["transport_maps", "relay_domains"])
def test_what_was_remembered_goes_with_a_change_of_its_table(tmp_path, parameter):
    source = tmp_path / "table"
    source.write_text("other.example smtp:old\n")
    compile_table(source)
    resolver = make_resolver(remember=10, **{parameter: f"hash:{source}"})
    before = resolver.resolve(b"u@there.example")
    assert resolver.resolve(b"u@there.example") is before
    source.write_text("there.example relay:new\n")
    compile_table(source)
    assert resolver.resolve(b"u@there.example").transport == b"relay"
    assert before.transport == b"smtp"


@pytest.mark.parametrize("parameter", ["transport_maps", "relay_domains"])
def test_what_is_known_of_a_domain_goes_with_a_change_of_its_table(tmp_path, parameter):
    """Each question is about another address, so that only the domain's part can have been kept."""
    source = tmp_path / "table"
    source.write_text("other.example smtp:old\n")
    compile_table(source)
    resolver = make_resolver(**{parameter: f"hash:{source}"})
    assert resolver.resolve(b"a@there.example").transport == b"smtp"
    source.write_text("there.example relay:new\n")
    compile_table(source)
    assert resolver.resolve(b"b@there.example").transport == b"relay"
    source.write_text("c@there.example error:no\nthere.example relay:new\n")
    compile_table(source)
    assert resolver.resolve(b"c@there.example").transport == (
        b"error" if parameter == "transport_maps" else b"relay"
    )
    assert resolver.resolve(b"d@there.example").transport == b"relay"


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"%outside.example@local.example",
            b'"@x.example:user@outside.example"@local.example',
            b"user%@local.example",
        ),
        *(
            b"user%OUTSIDE.example@local.example",
            b'"u@v w"@local.example',
            b'"-oQ"%x@local.example',
            b'"a b%-x"@local.example',
        ),
    ],
)
def test_strange_local_parts_of_ours_are_never_authorized(text):
    resolver = make_resolver(mydestination="local.example")
    address = parse_path(b"<" + text + b">")
    if isinstance(address, Address):
        assert not resolver.is_authorized_destination(address)


def test_cracked_domains_are_canonical():
    route = make_resolver(mydestination="local.example").resolve(b"user%OUTSIDE.example.@local.example")
    assert (route.next_hop, route.recipient) == (b"outside.example", b"user@outside.example")


def test_a_local_part_that_looks_like_an_option_is_refused():
    route = make_resolver(mydestination="local.example").resolve(b"-oQ%outside.example@local.example")
    assert (route.transport, route.next_hop) == (b"error", b"5.1.3 bad address syntax")


@pytest.mark.parametrize(
    "name", ["mydestination", "relay_domains", "transport_maps", "virtual_alias_domains"]
)
def test_a_table_that_cannot_answer_is_an_error(name):
    """C26: never "not found"."""
    resolver = make_resolver(**{name: "dbm:/nowhere"})
    with pytest.raises(TableError):
        resolver.resolve(b"u@x.example")
    with pytest.raises(TableError):
        resolver.is_authorized_destination(Address(b"u", b"x.example"))


def test_own_literals_are_local():
    resolver = make_resolver(own_addresses=("192.0.2.7", "2001:db8::7"))
    assert resolver.address_class(b"[192.0.2.7]") is AddressClass.LOCAL
    assert resolver.address_class(b"[IPv6:2001:db8:0::7]") is AddressClass.LOCAL
    assert resolver.address_class(b"[192.0.2.8]") is AddressClass.DEFAULT


def test_patterns_are_not_tried_on_parts_of_an_address(tmp_path):
    """A pattern for one domain's addresses must not route a domain whose name it happens to match."""
    path = tmp_path / "transport"
    path.write_text("/example/ smtp:[pattern.example]\n")
    whole = make_resolver(transport_maps=f"regexp:{path}")
    assert whole.resolve(b"u@x.example").next_hop == b"[pattern.example]"
    maps = AddressMaps(make_maps(f"regexp:{path}, inline:{{x.example=whole}}"))
    assert maps.find_partial(b"x.example") == b"whole"


@pytest.mark.parametrize(
    ("local", "delimiters", "expected"),
    [
        (b"user+ext", b"+", (b"user", b"ext")),
        (b"user+", b"+", (b"user", b"")),
        (b"+ext", b"+", (b"+ext", b"")),
        (b"user-a+b", b"+-", (b"user", b"a+b")),
        (b"owner-list", b"-", (b"owner-list", b"")),
        (b"list-request", b"-", (b"list-request", b"")),
        (b"mailer-daemon", b"-", (b"mailer-daemon", b"")),
        (b"user+ext", b"", (b"user+ext", b"")),
    ],
)
def test_extension(local, delimiters, expected):
    assert split_extension(local, delimiters, owner_request_special=True) == expected


def test_rewriter_leaves_null_and_complete_addresses_alone():
    rewriter = Rewriter(resolve_settings())
    null = parse_path(b"<>", allow_null=True)
    complete = parse_path(b"<u@x.example>")
    assert rewriter.envelope(null) is null
    assert rewriter.envelope(complete) is complete


KNOWN_DOMAINS = [
    b"host.example",
    b"alias.example",
    b"box.example",
    b"relay.example",
    b"x.example",
    b"x..y",
    b"-",
]
LOCAL_PARTS = [
    b"u",
    b"-u",
    b"",
    b"a%x.example",
    b"relay.example!u",
    b"u@x.example",
    b"u@@",
    b"a b",
    b"-%box.example",
]


@given(
    st.lists(st.builds(Address, st.sampled_from(LOCAL_PARTS), st.sampled_from(KNOWN_DOMAINS)), max_size=12)
)
def test_what_is_known_of_a_domain_never_changes_an_answer(addresses):
    """One resolver is asked about all of them, another one about each: the domain was not seen before."""
    configured = {
        "mydestination": "host.example",
        "virtual_alias_domains": "alias.example",
        "virtual_mailbox_domains": "box.example",
        "relay_domains": "relay.example",
        "transport_maps": "inline:{relay.example=smtp:[hub.example] u@x.example=slow:}",
    }
    resolver = make_resolver(remember=4, **configured)
    for address in addresses:
        assert resolver.examine(address) == make_resolver(**configured).examine(address)
