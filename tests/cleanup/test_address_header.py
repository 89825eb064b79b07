"""Header addresses: the compiled rewriter against its slow twin, and both against Debian's Postfix."""

import random
import time

import pytest
from cleanup_postfix import USABLE, running
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrelay.cleanup._address_header import AddressHeaders
from reference.address_header_reference import Context, fold, rewrite

ORIGIN, DOMAIN = b"origin.example", b"dom.example"
COMPLETE = AddressHeaders(ORIGIN, DOMAIN)
PIECES = [
    b"a",
    b"b.c",
    b"@",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"(x)",
    b'"q r"',
    b'""',
    b".",
    b"!",
    b"%",
    b"[1]",
    b" ",
]
PIECES += [
    b"\\",
    b"(",
    b")",
    b'"',
    b"[",
    b"]",
    b"|",
    b"\xe9",
    b"word",
    b"\r\n ",
    b"x@y.z",
    b"<p@q>",
    b"\t",
    b"g:",
]
VALUES = st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join)
CASES = [
    b"a", b"a@b", b"A B <a>", b"a, b , c", b"(c) a", b"a (c)", b"a (c) b", b'"x y" <a@b> (hi)', b"g: a, b;",
    b"g: a, b; , c", b"g:;", b"<>", b"a b c", b"<a b@c>", b"a!b", b"a%b", b"a%b%c", b"@r:a", b"@r,@s:a", b"a@[1.2.3.4]",
    b"a@b.", b"a@b..", b"a@.", b"@", b"a@", b"@b", b'"john"@x', b'"jo hn"@x', b"j\\ o", b"(unclosed", b'"unclosed',
    b"[unclosed", b"<unclosed", b"a>", b"a>b>c", b"a<b<c>d>e", b"x <a>, y <b>", b"x <a> y <b>", b"x <a>; y <b>",
    b"a;b", b"a:b", b"a:b;c:d;", b".a", b"a.", b"a..b", b"a .b", b"a . b @ c . d", b"a@b@c", b"u@d (c1) (c2), (c3) v",
    b"(a(b)c) d", b"(a\\)b) d", b"a|b", b"|a", b"x@\xc3\xa9", b"\xc3\xa9", b'"a\\"b" <c>', b'"a@b"', b'"a!b"', b'"a%b"',
    b"a, ,b", b",a", b"a,,", b"", b'"" <a>', b'""', b'"".a', b'a@"b c"', b"a@(c)b", b"a <b> <c>", b"<@a,@b:c@d>",
    b":a", b"a:", b"a:<b>", b"g:<b>;", b"g: x <b>, y (z) c@d; ", b'"' + b"p" * 300 + b'" <a>', b"p " * 200 + b"<a>",
    b"p " * 200 + b"<>, a", b"a, " + b"p " * 200 + b"<b@c> (q), d", b"a (" + b"c" * 240 + b")",
    b"(" + b"c" * 260 + b") a",
    b", ".join(b"user%d" % i for i in range(40)), b"a\x01b", b"a@b (c\r\n d) x", b"a@b,\r\n b",
    b'"a\r\n b" <c>', b"a\\@b",
    b"a\\", b"(a\\", b'"a\\', b'\\"a', b"undisclosed-recipients:;", b"X <a@b.c>", b"a@b.c,d@e.f", b"a@b.c d@e.f",
    b"!a", b"a!", b"a!b!c", b"a!b@c", b"a%b@c", b'"a"b', b'a "b" <c>', b"=?utf-8?q?a?= <b>",
    b"!!< [!b.c", b"root@localhost",
]  # fmt: skip


def expected(value: bytes, context: Context, limit: int = 0) -> bytes | None:
    text = rewrite(value, context, None, limit)
    return None if text is None else fold(b"To:" + text) + b"\r\n"


@given(VALUES)
@settings(max_examples=400, deadline=None)
def test_compiled_and_slow_agree(value):
    assert COMPLETE.rewrite_header(b"To", value, False) == expected(value, Context(ORIGIN, DOMAIN))


@given(VALUES, st.booleans(), st.booleans(), st.sampled_from([b"", ORIGIN]), st.sampled_from([b"", DOMAIN]))
@settings(max_examples=200, deadline=None)
def test_compiled_and_slow_agree_on_every_setting(value, bang, percent, origin, domain):
    ours = AddressHeaders(origin, domain, bang, percent, token_limit=7).rewrite_header(b"To", value, True)
    assert ours == expected(value, Context(origin, domain, bang, percent), 7)


@pytest.mark.parametrize("value", CASES)
def test_compiled_and_slow_agree_on_the_catalogue(value):
    assert COMPLETE.rewrite_header(b"To", value, False) == expected(value, Context(ORIGIN, DOMAIN))


@given(VALUES, st.booleans())
@settings(max_examples=200, deadline=None)
def test_compiled_and_slow_agree_on_mapping(value, complete):
    def mapper(address):
        return address.replace(b"a", b"x y") if b"p" not in address else b'"quoted p"@m.example'

    context = Context(ORIGIN, DOMAIN, complete=complete)
    ours = AddressHeaders(ORIGIN, DOMAIN, complete=complete, sender_map=mapper)
    text = rewrite(value, context, mapper)
    wanted = None if text is None else fold(b"From:" + text) + b"\r\n"
    assert ours.rewrite_header(b"From", value, True) == wanted
    if not complete:
        assert ours.rewrite_header(b"From", value, False) is None


def test_what_a_map_raises_passes_through():
    def broken(address):
        raise LookupError(address)

    with pytest.raises(LookupError, match=r"a@b\.c"):
        AddressHeaders(complete=False, sender_map=broken).rewrite_header(b"From", b" a@b.c", True)


HOSTILE = [
    b"(" * 3_000_000,
    b'"' * 2_000_001,
    b"a, " * 300_000,
    b"<" * 2_000_000,
    b"<a>" * 300_000,
    b"a!" * 500_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:3].decode())
def test_hostile_headers_take_linear_time(value):
    """Twice the header takes about twice the time; ten times would be quadratic."""
    small, large = value[: len(value) // 8], value
    times = []
    for text in (small, large):
        begun = time.process_time()
        COMPLETE.rewrite_header(b"To", text, False)
        times.append(time.process_time() - begun)
    assert times[1] < 40 * max(times[0], 0.005)


def corpus() -> list[bytes]:
    """The catalogue and pieces put together at random, without what a client cannot send in one header."""
    chance = random.Random(7)
    made = [b"".join(chance.choice(PIECES) for _ in range(chance.randint(1, 14))) for _ in range(900)]
    return [case for case in CASES + made if b"\r\n \r\n" not in case + b"\r\n" and not case.endswith(b"\n ")]


@pytest.mark.skipif(not USABLE, reason="needs root and Debian's postfix package")
def test_postfix_rewrites_the_corpus_to_the_same_bytes():
    main = {"append_at_myorigin": "yes", "append_dot_mydomain": "yes"}
    main |= {"myorigin": ORIGIN.decode(), "mydomain": DOMAIN.decode()}
    cases = corpus()
    with running(main) as postfix:
        messages = []
        for first in range(0, len(cases), 100):
            headers = [
                b"X-N: %d\r\nTo: %s\r\n" % (first + n, x) for n, x in enumerate(cases[first : first + 100])
            ]
            messages.append(b"".join(headers) + b"X-N: end\r\n\r\nx")
        ids = postfix.send(messages)
        arrived = postfix.fetch(len(messages))
    text = b"".join(arrived[i].partition(b"\r\n\r\n")[0] + b"\r\n" for i in ids)
    for n, case in enumerate(cases):
        start = text.index(b"X-N: %d\r\n" % n) + len(b"X-N: %d\r\n" % n)
        theirs = text[start : text.index(b"X-N:", start)]
        ours = COMPLETE.rewrite_header(b"To", b" " + case, False)
        assert (b"To: " + case + b"\r\n" if ours is None else ours) == theirs, case
