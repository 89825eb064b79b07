"""The leaves of the command language against what Python says in a line or two."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrelay.wire import commands, replies
from fastrelay.wire._parameters import mail_parameters, rcpt_parameters
from fastrelay.wire._smtp import find_verb, is_utf8, is_xtext, read_number, words
from fastrelay.wire.commands import Verb
from fastrelay.wire.extensions import ehlo_reply

ASCII_UPPER = bytes.maketrans(bytes(range(97, 123)), bytes(range(65, 91)))


@given(st.one_of(st.binary(max_size=10), st.sampled_from([verb.name.encode() for verb in Verb])))
def test_verbs(word: bytes) -> None:
    names = {verb.name.encode(): verb.value for verb in Verb if verb is not Verb.UNKNOWN}
    assert find_verb(word) == names.get(word.translate(ASCII_UPPER), 0)
    assert find_verb(word.lower()) == names.get(word.lower().translate(ASCII_UPPER), 0)


def test_no_byte_outside_ascii_letters_reads_as_a_letter() -> None:
    for name in (b"MAIL", b"RSET"):
        for position in range(4):
            for byte in range(256):
                word = name[:position] + bytes([byte]) + name[position + 1 :]
                assert bool(find_verb(word)) == (word.translate(ASCII_UPPER) == name), word


@given(st.binary(max_size=20))
def test_numbers_are_ascii_digits(text: bytes) -> None:
    value = int(text) if re.fullmatch(rb"[0-9]+", text) else None
    assert read_number(text) == (value if value is not None and value <= (1 << 63) - 1 - 9 else None)


@pytest.mark.parametrize(
    "text", [b"", b"+5", b"-1", b" 1", b"1_0", b"1e9", "１２".encode(), "²".encode(), b"9" * 19, b"9" * 400]
)
def test_what_is_no_number(text: bytes) -> None:
    assert read_number(text) is None


@given(
    st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda t: t.encode("utf-8", "surrogatepass")))
)
def test_utf8(text: bytes) -> None:
    try:
        text.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert is_utf8(text) == valid


@given(st.text("+=0123456789ABCDEFabcdef\0 ~!é", max_size=12).map(str.encode))
def test_xtext(text: bytes) -> None:
    decoded = re.sub(rb"\+([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m[1].decode()), text)
    legal = re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})+", text)
    assert is_xtext(text) == bool(legal and not any(c < 32 or c == 127 for c in decoded))


def test_lower_case_xtext_is_stored_as_the_next_hop_may_ask_for_it() -> None:
    """RFC 3461 4: two upper case hexadecimal digits. Who writes lower case is understood, as by Postfix."""
    assert mail_parameters(b" ENVID=a+2bf+C3+a9+2Bc")[2] == b"a+2Bf+C3+A9+2Bc"
    assert rcpt_parameters(b" ORCPT=rfc822;a+2bb@abc.test NOTIFY=NEVER") == (1, b"rfc822;a+2Bb@abc.test")
    assert isinstance(rcpt_parameters(b" ORCPT=rfc822;a+0ab"), bytes)


@given(st.binary(max_size=30))
def test_words(line: bytes) -> None:
    assert words(line) == [word for word in re.split(rb"[ \t]+", line) if word]


@given(st.binary(max_size=80))
def test_any_parameters_get_an_answer(text: bytes) -> None:
    for found in (mail_parameters(text), rcpt_parameters(text), mail_parameters(b" " + text)):
        assert isinstance(found, tuple) or re.fullmatch(rb"5[05][0-9] 5\.\d\.\d [ -~]+", found)


def test_extensions_that_are_not_announced_take_no_parameters() -> None:
    assert mail_parameters(b" RET=FULL", dsn=False) == b"555 5.5.4 Unsupported option: RET=FULL"
    assert mail_parameters(b" SMTPUTF8", utf8=False) == b"555 5.5.4 Unsupported option: SMTPUTF8"
    assert rcpt_parameters(b" NOTIFY=NEVER", dsn=False) == b"555 5.5.4 Unsupported option: NOTIFY=NEVER"


@pytest.mark.parametrize("value", [b"SUCCESS,SUCCESS", b"DELAY,", b",DELAY", b"NEVER,DELAY", b""])
def test_each_value_of_notify_is_said_once(value: bytes) -> None:
    assert rcpt_parameters(b" NOTIFY=SUCCESS,DELAY") == (10, b"")
    assert rcpt_parameters(b" NOTIFY=" + value) == replies.R501_NOTIFY


def test_size_limit_and_no_limit() -> None:
    assert mail_parameters(b" SIZE=11", size_limit=10) == replies.R552_SIZE_LIMIT
    assert mail_parameters(b" SIZE=10", size_limit=10)[0] == 10
    assert mail_parameters(b" SIZE=99999999999", size_limit=0)[0] == 99999999999


def test_the_reply_to_ehlo() -> None:
    assert ehlo_reply(b"h", 0, {word.upper() for word in (b"pipelining", b"vrfy", b"etrn", b"dsn")}) == (
        b"250-h\r\n250-SIZE\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 CHUNKING"
    )
    assert ehlo_reply(b"h", 5, ()).split(b"\r\n")[2] == b"250-SIZE 5"


def test_fixed_replies_are_well_formed_and_named_by_their_code() -> None:
    for name, reply in vars(replies).items():
        if match := re.fullmatch(r"R(\d{3})_\w+", name):
            if name.endswith("_TEXT"):
                continue
            assert reply.startswith(match[1].encode() + b" "), name
            assert re.fullmatch(rb"\d{3} ([245]\.\d\.\d )?[ -~]+", reply), name
            enhanced = re.match(rb"\d{3} (\d)\.", reply)
            assert enhanced is None or enhanced[1] == reply[:1], name


def test_every_verb_has_one_row() -> None:
    rows = [command.verb for command in commands.COMMANDS]
    assert sorted(rows) == sorted(set(Verb) - {Verb.UNKNOWN})


def test_a_parameter_of_one_byte_is_shown_in_an_object_of_its_own():
    """Python keeps one object for each byte: whoever writes into that changes all of them."""
    assert mail_parameters(b" \x01") == b"555 5.5.4 Unsupported option: ?"
    assert [bytes([number])[0] for number in range(256)] == list(range(256))
