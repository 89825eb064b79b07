"""Where a reply ends, for every byte stream protocol: any bytes, cut anywhere, give a length or BadReply."""

import contextlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.tables import memcache, redis
from fastrelay.tables.socketmap import netstring, netstring_length
from fastrelay.tables.stream import BadReply, parse_endpoint, parse_host_port
from fastrelay.tables.tcp import line_length
from fastrelay.tables.text import SyntaxProblem

FRAMINGS = {
    "socketmap": netstring_length,
    "tcp": line_length,
    "memcache": partial(memcache.reply_length, data_limit=100, line_limit=50),
    "redis": partial(redis.reply_length, data_limit=100),
}
with contextlib.suppress(ImportError):  # an extra
    from fastrelay.tables.ldap_session import element_length, extended_result

    FRAMINGS["ldap"] = element_length

PIECES = st.sampled_from(
    [b"5:", b"0:", b":", b",", b"OK x", b"200 ", b"\n", b"\r\n", b"VALUE k 0 3\r\n", b"abc", b"END\r\n", b"$3\r\n",
     b"$-1", b"+OK", b"-ERR", b"*2", b"\x30", b"\x03", b"\x84\x00\x00\x00\x01", b"\x80", b"\xff", b"999999999", b" "]
)  # fmt: skip
STREAMS = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=8).map(b"".join))


def outcome(framing, stream):
    """The length, 0, or None: no reply at all."""
    try:
        return framing(bytearray(stream))
    except BadReply:
        return None


@pytest.mark.parametrize("kind", FRAMINGS)
@given(stream=STREAMS)
def test_any_bytes_cut_anywhere(kind, stream):
    """What is decided of a beginning stays so: it is the same reply, or none, however much has come."""
    framing = FRAMINGS[kind]
    decided = 0
    for end in range(len(stream) + 1):
        found = outcome(framing, stream[:end])
        assert found is None or 0 <= found <= end
        if decided != 0:
            assert found == decided
        decided = found


@given(data=st.binary(max_size=90), rest=st.binary(max_size=20))
def test_whole_replies_are_found(data, rest):
    assert netstring_length(bytearray(netstring(data) + rest)) == len(netstring(data))
    for kind, reply in (
        ("memcache", b"VALUE k 7 %d\r\n%b\r\nEND\r\n" % (len(data), data)),
        ("redis", b"$%d\r\n%b\r\n" % (len(data), data)),
    ):
        assert FRAMINGS[kind](bytearray(reply + rest)) == len(reply)
        assert FRAMINGS[kind](bytearray(reply[:-1])) == 0


@pytest.mark.skipif("ldap" not in FRAMINGS, reason="apt-get install libldap-dev libsasl2-dev, then make")
@given(message=st.one_of(st.binary(max_size=40), STREAMS))
def test_what_answers_starttls(message):
    with contextlib.suppress(BadReply):
        assert 0 <= extended_result(message) < 256
    for code in (0, 2, 52):
        assert (
            extended_result(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01" + bytes([code]) + b"\x04\x00\x04\x00")
            == code
        )


@given(text=st.text(max_size=30))
def test_any_endpoint_is_one_or_a_syntax_problem(text):
    for parse in (parse_endpoint, parse_host_port):
        with contextlib.suppress(SyntaxProblem):
            place = parse(text)
            assert bool(place.path) != bool(place.host)
            assert place.path or place.port


def test_endpoints():
    assert str(parse_endpoint("inet:[fc00:8d00:189::3]:11211")) == "fc00:8d00:189::3:11211"
    assert parse_endpoint("inet:localhost:smtp").port == "smtp"
    assert parse_host_port("2525").host == "localhost"
    for wrong in ("inet:127.0.0.1", "inet:host:0", "inet:host:65536", "unix:", "tcp:x:1", "", "inet:a b:1:2"):
        with pytest.raises(SyntaxProblem):
            parse_endpoint(wrong)
