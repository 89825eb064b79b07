"""rewrite._address beside its slow twin, on generated paths."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastrelay.rewrite._address import Address, from_external, live_objects, parse_path, split_path
from reference.address_reference import parse

PIECES = [
    *(bytes([c]) for c in b'ab1-_.@"\\<>(),;:[]%! |\t\x00\x7f{}'),
    *(b"\xc3\xa9", b"\xff", b"\xe2\x80\xae", b"\xc2\x85", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\xaf"),
    *(
        b"IPv6:",
        b"1.2.3.4",
        b"::",
        b"ffff",
        b"@x.example",
        b'"a b"',
        b"@a,@[1.2.3.4]:",
        b"0",
        b"255",
        b"l" * 60,
    ),
]
fragments = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
words = st.sampled_from([b"a", b"a.b", b'"q @ r"', b"u%v", b"d!u", b'"\\""', b".", b"", b"-x", b"\xc3\xa9"])
domains = st.sampled_from(
    [b"x.example", b"X.EXAMPLE.", b"[1.2.3.4]", b"[ipv6:1::2]", b"1.2.3.4", b"a_b", b"\xc3\xa9", b"x..y"]
)
groups = st.lists(st.sampled_from([b"1", b"ffff", b"12345", b"", b"0.0.0.0", b"g"]), min_size=1, max_size=9)
paths = st.one_of(
    fragments,
    fragments.map(lambda f: b"<" + f + b">"),
    st.builds(
        lambda w, d, p: b"<" + w + b"@" + d + b">" + p,
        words,
        domains,
        st.sampled_from([b"", b" SIZE=1", b"x"]),
    ),
    groups.map(lambda g: b"<u@[IPv6:" + b":".join(g) + b"]>"),
    st.binary(max_size=40),
)


@settings(max_examples=1000, deadline=None)
@given(paths, st.booleans(), st.booleans(), st.booleans(), st.booleans())
@example(b"<" + b"l" * 252 + b"@x>", False, False, False, False)
@example(b"<u@" + b"l" * 63 + b".example>", False, False, False, False)
def test_twin_agrees(text, strict, smtputf8, allow_null, allow_hyphen):
    flags = {"strict": strict, "smtputf8": smtputf8, "allow_null": allow_null, "allow_hyphen": allow_hyphen}
    found, used = split_path(text, **flags)
    if isinstance(found, Address):
        assert (found.local, found.domain, found.external, used) == parse(text, **flags)
    else:
        assert found.name == parse(text, **flags)


@settings(max_examples=300, deadline=None)
@given(paths)
def test_canonical_form_reads_back(text):
    """What is stored parses to itself: one mailbox, one spelling."""
    found, _ = split_path(text, smtputf8=True)
    if isinstance(found, Address) and len(found.external) <= 254:
        assert parse_path(b"<" + found.external + b">", smtputf8=True) == found
        assert parse_path(b"<" + found.external + b">", smtputf8=True, strict=True) == found
    if isinstance(found, Address):
        again = from_external(found.external)
        assert (again.local, again.domain) == (found.local, found.domain)


@given(st.binary(min_size=1, max_size=30), st.sampled_from([b"", b"x.example"]))
def test_from_external_undoes_quoting(local, domain):
    again = from_external(Address(local, domain).external)
    assert (again.local, again.domain) == (local, domain)


def test_no_address_is_left_behind():
    before = live_objects()
    addresses = [parse_path(b"<u%d@x.example>" % i) for i in range(50)]
    assert live_objects() - before in (0, 50)  # 50 in a debug build
    del addresses
    assert live_objects() == before
