"""What a client sends: commands, paths, parameters, contents. Each target is a function of bytes that must return.

Beside "no crash, no exception" each holds the parser against its slow twin, and one buffer against single bytes.
"""

from __future__ import annotations

import functools
import random
import re

from fastrelay.borders import Recipient
from fastrelay.cleanup._address_header import AddressHeaders
from fastrelay.cleanup._contents import ContentScanner
from fastrelay.cleanup._headers import HeaderCleaner
from fastrelay.cleanup._mime import MimeScanner
from fastrelay.cleanup._recipients import unique
from fastrelay.rewrite._address import Address, from_external, split_path
from fastrelay.wire._parameters import mail_parameters, rcpt_parameters
from fastrelay.wire._smtp import find_verb, is_utf8, is_xtext, read_number, words
from fastrelay.wire.commands import Verb
from reference import (
    address_header_reference,
    address_reference,
    content_reference,
    headers_reference,
    mime_reference,
)
from support.dialogue import cut
from support.receive_lab import BareWire, ReceiveLab

PRINTABLE = re.compile(rb"[2-5]\d\d[ -][\x20-\x7e]*")
QUEUED = re.compile(rb"(queued as) \w+")
TRACE = re.compile(rb"\A.*?id \w+", re.S)
UPPER = bytes.maketrans(bytes(range(97, 123)), bytes(range(65, 91)))
VERBS = {verb.name.encode(): verb.value for verb in Verb if verb is not Verb.UNKNOWN}
OPEN = {"smtpd_forbid_unauth_pipelining": "no", "smtpd_hard_error_limit": "200"}
RULES: tuple[dict[str, str], ...] = (
    OPEN,
    OPEN | {"smtpd_forbid_bare_newline": "reject", "message_size_limit": "5000"},
    OPEN | {"strict_rfc821_envelopes": "yes", "smtpd_junk_command_limit": "3"},
)
DROPPED = [b"bcc", b"content-length", b"resent-bcc", b"return-path"]
RECEIVED = b"Received: from c\r\n\tby us\r\n"
ADD = {b"message-id": b"<20260102030405.QID@relay.lab.example>", b"date": b"Fri, 2 Jan 2026", b"from": b"s@x"}


@functools.cache
def lab(rules: int) -> ReceiveLab:
    return ReceiveLab(RULES[rules])


def answers(rules: int, stream: bytes, chunking: str) -> tuple[object, ...]:
    wire = BareWire(lab(rules).session(), lambda data: cut(data, chunking, seed=len(stream)))
    wire.send(stream)
    lab(rules).lines.clear()
    said = [QUEUED.sub(rb"\1", line) for line in wire.lines(10_000)]
    assert all(PRINTABLE.fullmatch(line) for line in said), said
    taken = [
        (envelope.sender, [r.address for r in envelope.recipients], envelope.flags,
         TRACE.sub(b"", b"".join(content), count=1))
        for _, envelope, content in wire.messages
    ]  # fmt: skip
    return said, wire.session.is_open(), taken


def session(data: bytes) -> None:
    """A whole conversation, in one read, byte by byte and in pieces."""
    rules, stream = data[0] % len(RULES) if data else 0, data[1:]
    whole = answers(rules, stream, "whole")
    for chunking in ("bytes", "random") if len(stream) < 3000 else ("random",):
        assert answers(rules, stream, chunking) == whole, chunking


def address(data: bytes) -> None:
    bits, text = data[0] if data else 0, data[1:]
    flags = {
        "strict": bool(bits & 1),
        "smtputf8": bool(bits & 2),
        "allow_null": bool(bits & 4),
        "allow_hyphen": bool(bits & 8),
    }
    found, used = split_path(text, **flags)
    if not isinstance(found, Address):
        assert found.name == address_reference.parse(text, **flags)
        return
    assert (found.local, found.domain, found.external, used) == address_reference.parse(text, **flags)
    again = from_external(found.external)
    assert (again.local, again.domain) == (found.local, found.domain)


def parameters(data: bytes) -> None:
    bits, text = data[0] if data else 0, data[1:]
    utf8, dsn = bool(bits & 1), bool(bits & 2)
    mail = mail_parameters(text, 5000 if bits & 4 else 0, utf8, dsn)
    if isinstance(mail, bytes):
        assert re.fullmatch(rb"[45]\d\d [\x20-\x7e]*", mail), mail
    else:
        assert mail[2].lower() in text.lower() and len(mail[2]) <= 100 and (not bits & 4 or mail[0] <= 5000)
    rcpt = rcpt_parameters(text, dsn)
    if isinstance(rcpt, bytes):
        assert re.fullmatch(rb"[45]\d\d [\x20-\x7e]*", rcpt), rcpt
    else:
        assert rcpt[1].lower() in text.lower() and len(rcpt[1]) <= 500 and 0 <= rcpt[0] < 16


def command_words(data: bytes) -> None:
    upper = data.translate(UPPER)
    assert find_verb(data) == VERBS.get(upper, 0)
    number = int(data) if re.fullmatch(rb"[0-9]{1,4000}", data) else None
    assert read_number(data) == (number if number is not None and number <= (1 << 63) - 10 else None)
    assert is_utf8(data) == (data.decode(errors="replace").encode() == data)
    # an xtext is what xtext-encoding can have made; what it means must not be a control character
    decoded = re.sub(rb"\+([0-9A-Fa-f]{2})", lambda m: bytes.fromhex(m[1].decode()), data)
    if is_xtext(data):
        assert re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-Fa-f]{2})+", data) and decoded
    assert words(data) == [word for word in re.split(rb"[ \t]+", data) if word]


def contents(data: bytes) -> None:
    """After DATA: against the twin, and byte by byte."""
    wire = data + b"\r\n.\r\nQUIT\r\n"
    expected = content_reference.read_data(wire)
    assert expected is not None
    whole, single = ContentScanner(0), ContentScanner(0)
    used = whole.feed_data(wire)
    assert used == expected.used
    for i in range(used):
        assert single.feed_data(wire[i : i + 1]) == (1 if i == used - 1 else -1)
    header, body, separator = content_reference.split_header(expected.lines)
    for scanner in (whole, single):
        assert scanner.size == expected.size
        assert (bool(scanner.seen & 1), bool(scanner.seen & 2)) == (expected.bare_lf, expected.stray_cr)
        assert scanner.has_separator == separator
        assert scanner.header_lines() == content_reference.wire_form(header)
        assert scanner.hand_over_body() == content_reference.wire_form(body)
    assert (whole.flags, whole.seen) == (single.flags, single.seen)


def chunks(data: bytes) -> None:
    """After BDAT: the first byte of a chunk is its size."""
    pieces, rest = [], data
    while rest:
        size, rest = rest[0], rest[1:]
        pieces.append(rest[:size])
        rest = rest[size:]
    octets = b"".join(pieces)
    expected = content_reference.read_chunks(octets)
    header, body, separator = content_reference.split_header(expected.lines)
    for parts in (pieces or [b""], [octets[i : i + 1] for i in range(len(octets))] or [b""]):
        scanner = ContentScanner(0)
        for i, part in enumerate(parts):
            scanner.feed_bdat(part, i == len(parts) - 1)
        assert scanner.size == expected.size
        assert scanner.has_separator == separator
        assert scanner.header_lines() == content_reference.wire_form(header)
        assert scanner.hand_over_body() == content_reference.wire_form(body)


def headers(data: bytes) -> None:
    """The header's clean-up, against the twin."""
    bits, text = data[0] if data else 0, data[1:]
    expected = content_reference.read_data(text + b"\r\n.\r\n")
    assert expected is not None
    header, _, separator = content_reference.split_header(expected.lines)
    limit, undisclosed = 80 + (bits >> 2), b"To: undisclosed-recipients:;" if bits & 2 else b""
    scanner = ContentScanner()
    scanner.feed_data(text + b"\r\n.\r\n")
    cleaner = HeaderCleaner(DROPPED, limit, undisclosed, b"relay.lab.example")
    got = cleaner.clean_header(
        scanner, RECEIVED, bool(bits & 1), b"s@x", b"QID", ADD[b"date"], b"20260102030405"
    )
    wanted, hops = headers_reference.clean(
        header,
        separator,
        received=RECEIVED,
        dropped=set(DROPPED),
        limit=limit,
        add=ADD if bits & 1 else None,
        undisclosed=undisclosed,
    )
    assert got == wanted
    assert cleaner.hops == hops


def address_header(data: bytes) -> None:
    """The addresses in To and From: completed, mapped or both, against the twin."""
    bits, value = data[0] if data else 0, data[1:]
    origin, domain = b"origin.example" if bits & 1 else b"", b"dom.example" if bits & 2 else b""
    swap, percent, complete, limit = bool(bits & 4), bool(bits & 8), bool(bits & 16), 7 if bits & 32 else 0
    mapper = (lambda found: found.replace(b"a", b"x y")) if bits & 64 else None
    ours = AddressHeaders(origin, domain, swap, percent, complete, limit, mapper, mapper)
    context = address_header_reference.Context(origin, domain, swap, percent, complete)
    text = address_header_reference.rewrite(value, context, mapper, limit)
    wanted = None if text is None else address_header_reference.fold(b"To:" + text) + b"\r\n"
    assert ours.rewrite_header(b"To", value, False) == wanted


def mime(data: bytes) -> None:
    """The structure of a body in wire form, against the twin; two bytes of settings, the Content-Type, the lines."""
    bits, limits, text = data[0] if data else 0, data[1] if data[1:] else 0, data[2:]
    flags = ("want_headers", "want_lines", "report_eight_bit", "report_domain", "report_nesting", "disabled")
    chosen = {
        **{name: bool(bits >> place & 1) for place, name in enumerate(flags)},
        "nesting_limit": 1 + (limits & 3),
        "boundary_limit": (1, 2, 70, 2048)[limits >> 2 & 3],
        "line_limit": (3, 10, 990, 2048)[limits >> 4 & 3],
        "body_limit": (0, 1, 20, 51200)[limits >> 6],
    }
    value, *rest = text.replace(b"\r", b"").split(b"\n")
    lines = [b"." + line if line.startswith(b".") else line for line in rest]
    headers, body = [(b"content-type", value)], b"".join(line + b"\r\n" for line in lines)
    found = MimeScanner(**chosen).scan(headers, body)
    assert found == mime_reference.Scan(**chosen).run(headers, body)


def recipients(data: bytes) -> None:
    """`address NUL original NUL orcpt NUL notify` and so on, the limit first."""
    limit, fields = data[0] if data else 0, data[1:].split(b"\0")
    people = [
        Recipient(fields[i], fields[i + 1], fields[i + 2], fields[i + 3][0] % 16 if fields[i + 3] else 0)
        for i in range(0, len(fields) - 3, 4)
    ]
    seen: set[object] = set()
    kept = []
    for person in people:
        key = (person.address.lower(), person.original.lower(), person.orcpt.lower(), person.notify)
        if key not in seen:
            kept.append(person)
            if not 0 < limit < len(kept):
                seen.add(key)
    assert [id(person) for person in unique(people, limit)] == [id(person) for person in kept]


def seeds() -> dict[str, list[bytes]]:
    """Where each target begins."""
    chance = random.Random(1)
    hello = b"EHLO c\r\nMAIL FROM:<a@sender.example> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<u@relay.example>\r\n"
    mail = hello + b"DATA\r\nSubject: x\r\n\r\n..b\r\n.\r\nRSET\r\nQUIT\r\n"
    chunked = hello + b"BDAT 5\r\nab\r\ncBDAT 3 LAST\r\n..\nNOOP\r\nVRFY u\r\n"
    return {
        "session": [bytes([rule]) + text for rule in range(3) for text in (mail, chunked, hello)],
        "address": [
            bytes([chance.randrange(16)]) + text
            for text in (b"<u@x.example> SIZE=1", b'<"a b\\"c"@[IPv6:1::2]>', b"<@a,@[1.2.3.4]:u@b.test>", b"u%v@d",
                         b"<\xc3\xa9@\xc3\xa9.example>", b"<>", b"<-x@1.2.3.4>", b"<" + b"l" * 60 + b"@X.Y.>")
        ],
        "parameters": [
            b"\x07" + text
            for text in (b" SIZE=123 BODY=8BITMIME RET=FULL ENVID=a+2Bb AUTH=<> SMTPUTF8",
                         b" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;u+40x", b"\tNOTIFY=NEVER", b" BODY=7BIT RET=HDRS")
        ],
        "command_words": [b"MAIL", b"bdat", b"123", b"a+2Bb", b"\xf0\x9f\x98\x80 x", b"1 2\t3"],
        "contents": [b"S: x\r\n\r\nbody\r\n..dot\r\n", b"a: b\n c\r\r\n.\r\n.\r\r\n\0", b">From x\r\nTo : y\r\n"],
        "chunks": [b"\x05ab\r\nc\x02\r\n", b"\x00", b"\x09Sub: x\r\n\r\x05\n\r\n.\n"],
        "headers": [b"\3" + b"n" * 82 + b":\n", b"\3x: y\r\n..n:" + b"v" * 90,
                    b"\x03To: a\r\n b\r\nBcc: c\r\nReceived: x\r\n\r\nb", b"\x41From a\r\nResent-To: x\r\n"],
        "address_header": [
            bytes([bits]) + b' "a b" <u@d> (c), g: x, y@[1.2];, a!b%c' for bits in (0, 15, 31, 63, 79, 127)
        ],
        "mime": [
            b"\x1f\xf0 multipart/mixed; boundary=a\n--a\nContent-Type: message/rfc822\n\nX: y\n z\n\nt\n--a--\n",
            b"\x1f\x05multipart/digest (c); boundary=\"a\\b\"\n\n--ab\nA: b\n\n\xff\n..\n--ab--\n--\n",
            b"\x2b\x40message/global\nContent-Transfer-Encoding: base64\n\nx\n",
        ],
        "recipients": [b"\x02a@x\0A@x\0\0\1a@X\0a@x\0\0\1b\0c\0rfc822;d\0\0"],
    }  # fmt: skip


TARGETS = {
    "session": session,
    "address": address,
    "parameters": parameters,
    "command_words": command_words,
    "contents": contents,
    "chunks": chunks,
    "headers": headers,
    "address_header": address_header,
    "mime": mime,
    "recipients": recipients,
}
