"""Messages for header_checks, body_checks and the MIME scanner, each with the configuration that it is for.

The checks say in the message itself what is to be done: `X-Act: REJECT no` in the header, `ACT STRIP` in the
body; `X-All` and `ALL` tell in the log which class of checks saw them. A name that begins with `differs `
is on a page of docs/differences.md: there both relays must disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

CLASSES = ("header", "mime", "nested", "body")
TABLES = {
    f"{kind}_checks": f"/^X-Act: (.*)/ $1\n/^ACT (.*)/ $1\n/^(Content-Description|Subject): ACT (.*)/ $2\n"
    f"/^(X-)?All: / INFO {kind}\n/^(X-)?Prepend: (.*)/ PREPEND $2\n/folded/ INFO folded {kind}\n"
    f"/^Received: from/ INFO ours\n/^X-Mailbox-Line/ INFO mailbox\n/^(X-)?Hidden.*$/ STRIP\n"
    for kind in CLASSES
}
CHECKS = {
    "header_checks": "regexp:$config_directory/header_checks",
    "mime_header_checks": "regexp:$config_directory/mime_checks",
    "nested_header_checks": "regexp:$config_directory/nested_checks",
    "body_checks": "regexp:$config_directory/body_checks",
}
CONFIGURATIONS: dict[str, dict[str, str]] = {
    "checks": CHECKS,
    "limits": {
        **CHECKS,
        "mime_header_checks": "",
        "mime_boundary_length_limit": "5",
        "mime_nesting_limit": "3",
        "body_checks_size_limit": "40",
        "line_length_limit": "512",
        "header_size_limit": "200",
    },
    "plain": {**CHECKS, "disable_mime_input_processing": "yes"},
    "strict": {"strict_8bitmime": "yes", "strict_mime_encoding_domain": "yes"},
    "maps": {
        "canonical_maps": "inline:{{mapped@a.example = canon@c.example} {@old.example = @new.example}}",
        "sender_canonical_maps": "inline:{{from@s.example = sender@c.example}}",
        "recipient_canonical_maps": "inline:{{to@r.example = rcpt@c.example} {local@relay.test = l@c.example}}",
        "masquerade_domains": "masq.example",
        "masquerade_exceptions": "root",
        "recipient_delimiter": "+",
    },
    "broken": {"header_checks": "regexp:$config_directory/nothing-there"},
}


@dataclass(frozen=True)
class Case:
    name: str
    content: bytes
    configuration: str = "checks"
    recipients: tuple[str, ...] = ("r@box.example",)
    parameters: tuple[str, ...] = ()


def header(*lines: str, body: str = "text") -> bytes:
    return "\r\n".join(["From: a@a.example", "To: b@b.example", *lines, "", body, ""]).encode("latin1")


def act(action: str, more: str = "X-All: after") -> bytes:
    return header("X-First: 1", f"X-Act: {action}", more)


def body(*lines: str) -> bytes:
    return header("Subject: body", body="\r\n".join(lines))


ACTIONS = """\
REJECT
REJECT no spam here
reject lower case
REJECT 4.2.1 try later
REJECT 5.9.9 never
REJECT 2.0.0 good
REJECT 450 4.2.1 code
DISCARD
DISCARD gone for good
HOLD
HOLD for a look
WARN
WARN careful
INFO
INFO just so
IGNORE
IGNORE with text
STRIP
STRIP away with it
DUNNO
OK
DUNNO text
PASS
PASS trusted
PREPEND X-New: yes
PREPEND no header here
PREPEND
REPLACE X-New: yes
REPLACE nothing
REPLACE
REPLACE To: replaced@x.example
REPLACE X-All: again
FILTER
FILTER smtp
REDIRECT
REDIRECT nobody
BCC
BCC nobody
FILTER discard:gone
DELAY 1h
UNKNOWN
unknown with text
Warn: no
rejec
PREPEND .X-Dot: yes
REPLACE Message-Id: <replaced@x.example>
REPLACE Content-Type: multipart/mixed; boundary=b
REPLACE X-Space : blank
""".splitlines()
ACTIONS += ["INFO " + "long " * 60, "DISCARD\ttab"]
CASES = [Case(f"header {action[:30]}", act(action)) for action in ACTIONS]
CASES += [
    Case(f"body {action[:30]}", body("first", f"ACT {action}", "ALL: after", "last"))
    for action in ACTIONS[:41]
]


def two(first: str, second: str) -> bytes:
    return header(f"X-Act: {first}", f"X-Act: {second}", "X-All: end", body="ALL: body")


PAIRS = [
    ("WARN one", "REJECT two"),
    ("HOLD one", "HOLD two"),
    ("HOLD one", "REJECT two"),
    ("DISCARD one", "REJECT two"),
    ("REJECT one", "DISCARD two"),
    ("PASS", "REJECT two"),
    ("PREPEND X-A: 1", "PREPEND X-B: 2"),
    ("STRIP", "PREPEND X-B: 2"),
    ("REDIRECT one@x.example", "REDIRECT two@x.example"),
    ("REDIRECT one@x.example", "REJECT two"),
    ("HOLD", "DISCARD"),
    ("BCC one@x.example", "BCC two@x.example"),
    ("BCC one@x.example", "BCC one@x.example"),
    ("BCC r@box.example", "WARN"),
    ("REDIRECT one@x.example", "BCC two@x.example"),
    ("DISCARD", "HOLD"),
]
CASES += [Case(f"two {a}, {b}", two(a, b)) for a, b in PAIRS]
CASES += [
    Case(
        "redirect of three",
        act("REDIRECT new@x.example"),
        recipients=("a@box.example", "b@box.example", "c@box.example"),
    ),
    Case("bcc beside two", act("BCC new@x.example"), recipients=("a@box.example", "b@box.example")),
    Case("bcc in the body", body("ACT BCC new@x.example", "ACT REDIRECT other@x.example")),
    Case("two recipients refused", act("REJECT both"), recipients=("a@box.example", "b@box.example")),
    Case("refused at the last header", header("X-All: 1", "X-Act: REJECT last")),
    Case("discarded at the last header", header("X-All: 1", "X-Act: DISCARD last")),
    Case("refused before the message-id", header("X-Act: REJECT first", "Message-Id: <m@x>")),
    Case("refused after the message-id", header("Message-Id: <m@x>", "X-Act: REJECT then", "X: 1")),
    Case("folded", header("X-Long: one", "\ttwo folded", " three", "X-All: x")),
    Case("folded and cut", header("X-Act: REPLACE X-New: one\r\n two")),
    Case("blank before the colon", header("X-Act : INFO blank", "X-All\t: tab")),
    Case("mailbox line", b"From a@b Mon Jan 1\r\n" + header("X-All: x")),
    Case("received is ours", header("Received: from elsewhere", "X-All: x")),
    Case("message-id between", header("X-All: 1", "Message-Id: <m@x>", "X-All: 2")),
    Case("message-id stripped", header("Message-Id: <m@x>", "X-Act: STRIP")),
    Case("message-id replaced away", header("Message-Id: <folded@x>", "Date: now")),
    Case("header removed later is seen", header("Bcc: folded@x.example", "Content-Length: folded")),
    Case("empty lines never match", body("", "ALL: x", "", "")),
    Case("dots", body(".ALL: no", "..", "ACT REPLACE .dot", "ACT PREPEND ..dots", ". ALL")),
    Case("replaced by addresses", header("Subject: ACT REPLACE Cc: local, other@x.example")),
    Case("no body", b"X-All: x\r\n"),
    Case("body without header", b"ALL: x\r\n no header\r\nACT INFO here\r\n"),
    Case("no header at all", b"\r\nACT INFO body\r\n"),
    Case("eight bits", header("X-Act: INFO caf\xe9", body="ACT INFO \xe9t\xe9")),
    Case("control in the text", header("X-Act: WARN a\x07b")),
]


def multipart(
    *parts: str, kind: str = "mixed", boundary: str = "bb", parameter: str = "", end: bool = True
) -> bytes:
    lines = [f"Content-Type: multipart/{kind}; boundary={parameter or boundary}", "MIME-Version: 1.0"]
    inner = (
        "preamble\r\n"
        + "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
        + (f"--{boundary}--\r\n" if end else "")
    )
    return header(*lines, body=inner + "ALL: epilogue")


PART = "X-All: part\r\nContent-Type: text/plain\r\n\r\nALL: line"
NESTED = (
    "Content-Type: message/rfc822\r\nX-All: part\r\n\r\nX-All: inner\r\nContent-Type: text/plain\r\nAll: x"
)
NESTED += "\r\n\r\nALL: b"
CASES += [
    Case("parts", multipart(PART, PART)),
    Case(
        "part with actions",
        multipart("X-Act: STRIP it\r\nX-Keep: 1\r\n\r\nACT STRIP\r\nkept", "X-Act: REPLACE X-New: 2\r\n\r\n"),
    ),
    Case("part refused", multipart("X-Act: REJECT part\r\n\r\nx")),
    Case("part prepended", multipart("X-Keep: 0\r\nPrepend: X-New: 1\r\n\r\nPrepend: body")),
    Case("nested message", multipart(NESTED)),
    Case(
        "nested at the top",
        header("Content-Type: message/rfc822", body="X-All: inner\r\nSubject: s\r\n\r\nALL: body"),
    ),
    Case("nested in nested", header("Content-Type: message/rfc822", body="X-All: 1\r\n" + NESTED)),
    Case("message/partial", header("Content-Type: message/partial", body="X-All: inner\r\n\r\nALL: body")),
    Case("message/global", header("Content-Type: message/global", body="X-All: inner\r\n\r\nALL: body")),
    Case(
        "digest",
        multipart(
            "\r\nX-All: inner\r\n\r\nALL: body", "Content-Type: text/plain\r\n\r\nX-All: no", kind="digest"
        ),
    ),
    Case("quoted boundary", multipart(PART, parameter='"bb"')),
    Case("boundary with blanks", multipart(PART, boundary="b b", parameter='"b b"')),
    Case("boundary escaped", multipart(PART, parameter='"b\\b"')),
    Case("boundary and comment", multipart(PART, parameter="(comment) bb (x); charset=utf-8")),
    Case("two boundaries", multipart(PART, parameter="aa; boundary=bb")),
    Case("no boundary", header("Content-Type: multipart/mixed", body="--\r\nX-All: x\r\n\r\nALL: b")),
    Case("wrong boundary", multipart(PART, parameter="cc")),
    Case("boundary is a prefix", multipart(PART, boundary="bbb", parameter="bb")),
    Case("boundary in upper case", multipart(PART, parameter="BB")),
    Case("no end", multipart(PART, end=False)),
    Case("text after the end", multipart(PART) + b"--bb\r\nX-All: after the end\r\n\r\nx\r\n"),
    Case(
        "folded content type",
        header("Content-Type: multipart/mixed;", "\tboundary=bb", body="--bb\r\nX-All: x\r\n\r\nx"),
    ),
    Case(
        "content type in odd case",
        header("CONTENT-type: MultiPart/Mixed; BOUNDARY=bb", body="--bb\r\nX-All: x\r\n\r\nx"),
    ),
    Case(
        "content type twice",
        header(
            "Content-Type: text/plain",
            "Content-Type: multipart/mixed; boundary=bb",
            body="--bb\r\nX-All: x\r\n",
        ),
    ),
    Case(
        "comment in the type",
        header("Content-Type: (c) multipart (d) / mixed; boundary=bb", body="--bb\r\nX-All: x\r\n\r\nx"),
    ),
    Case(
        "equal sign with blanks",
        header("Content-Type: multipart/mixed; boundary = bb", body="--bb\r\nX-All: x\r\n\r\nx"),
    ),
    Case(
        "inner multipart",
        multipart(
            "Content-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\nX-All: c\r\n\r\nx\r\n--cc--\r\nALL: between"
        ),
    ),
    Case(
        "outer boundary ends the inner",
        multipart("Content-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\nX-All: c", PART),
    ),
    Case(
        "mime header at the top",
        header("Content-Description: ACT INFO here", "MIME-Version: 1.0", "Subject: ACT INFO sub"),
    ),
    Case(
        "mime header in the nested",
        header(
            "Content-Type: message/rfc822", body="Content-Description: ACT INFO here\r\nX-All: y\r\n\r\nx"
        ),
    ),
    Case("part with folded header", multipart("X-A: 1\r\n folded\r\nX-All: x\r\n\r\nfolded")),
    Case("part without empty line kept", multipart("X-All: x\r\n\r\nno header\r\nALL: y")),
    Case("boundary with dots", multipart(PART, boundary=".b")),
    Case(
        "type without parameter value",
        header("Content-Type: multipart/mixed; boundary=", body="--\r\nX-All: x\r\n\r\nx"),
    ),
    Case(
        "trailing text behind the boundary",
        header("Content-Type: multipart/mixed; boundary=bb", body="--bb trailing\r\nX-All: x\r\n\r\nx"),
    ),
    Case("differs mime-untouched blank", multipart("X-All : blank\r\n\r\nx")),
    Case("part that begins with text", multipart("no header line\r\nALL: x")),
]
CASES += [
    Case("boundaries alike in five", multipart(PART, boundary="abcdefg", parameter="abcdexx"), "limits"),
    Case(
        "nested too deep",
        multipart(
            "\r\n".join(
                f"--{x}\r\nContent-Type: multipart/mixed; boundary={x}{x}\r\n" for x in ("bb", "bbbb")
            ),
            boundary="bb",
        ),
        "limits",
    ),
    Case(
        "depth allowed",
        multipart("Content-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nX-All: x\r\n\r\nx"),
        "limits",
    ),
    Case(
        "depth exceeded",
        multipart("\r\n".join(f"Content-Type: multipart/mixed; boundary={c}\r\n\r\n--{c}" for c in "cdefg")),
        "limits",
    ),
    Case("body beyond the limit", header(body="ALL: 1\r\n" + "x" * 30 + "\r\nALL: 2\r\nALL: 3"), "limits"),
    Case(
        "limit starts anew",
        multipart("X-A: 1\r\n\r\n" + "x" * 50 + "\r\nALL: late", "X-A: 2\r\n\r\nALL: early"),
        "limits",
    ),
    Case("long line in pieces", header(body="x" * 10 + "\r\n" + "ACT INFO " + "y" * 620), "limits"),
    Case("long line's second piece", header(body="y" * 512 + "ALL: second"), "limits"),
    Case("no mime checks", multipart("X-All: part\r\n\r\nALL: line"), "limits"),
    Case(
        "plain: parts are body",
        multipart("X-All: part\r\nX-Act: INFO x\r\n folded\r\n\r\nALL: line"),
        "plain",
    ),
    Case("plain: mime header", header("Content-Description: ACT INFO here", "X-All: 1"), "plain"),
    Case("8bit header", header("Subject: caf\xe9", body="x"), "strict"),
    Case("8bit body as 7bit", header("Subject: x", body="caf\xe9"), "strict", parameters=("BODY=8BITMIME",)),
    Case(
        "8bit body as 8bit",
        header("Content-Transfer-Encoding: 8bit", body="caf\xe9"),
        "strict",
        parameters=("BODY=8BITMIME",),
    ),
    Case("8bit in a 7bit part", multipart("Content-Type: text/plain\r\n\r\n\xe9"), "strict"),
    Case("8bit in an 8bit part", multipart("Content-Transfer-Encoding: 8bit\r\n\r\n\xe9"), "strict"),
    Case(
        "8bit header with SMTPUTF8",
        "Subject: caf\xe9\r\n\r\nx\r\n".encode(),
        "strict",
        parameters=("SMTPUTF8",),
    ),
    Case(
        "encoded multipart",
        header("Content-Type: multipart/mixed; boundary=x", "Content-Transfer-Encoding: base64"),
        "strict",
    ),
    Case(
        "encoded message",
        header("Content-Type: message/rfc822", "Content-Transfer-Encoding: quoted-printable"),
        "strict",
    ),
    Case("encoded text", header("Content-Type: text/plain", "Content-Transfer-Encoding: base64"), "strict"),
    Case(
        "encoded partial",
        header("Content-Type: message/partial", "Content-Transfer-Encoding: base64"),
        "strict",
    ),
    Case(
        "8bit partial",
        header("Content-Type: message/Partial; id=x", "Content-Transfer-Encoding: 8bit"),
        "strict",
    ),
    Case(
        "binary external body in a part",
        multipart("Content-Transfer-Encoding: binary\r\nContent-Type: message/external-body\r\n\r\nx"),
        "strict",
    ),
    Case(
        "encoded message/other",
        header("Content-Type: message/other", "Content-Transfer-Encoding: base64"),
        "strict",
    ),
    Case(
        "encoded message/global",
        header("Content-Type: message/global", "Content-Transfer-Encoding: base64"),
        "strict",
    ),
    Case(
        "encoded part",
        multipart("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nx"),
        "strict",
    ),
    Case(
        "8bit header before others", header("Subject: caf\xe9", "X-After: 1", "Message-Id: <m@x>"), "strict"
    ),
    Case("8bit header in a part", multipart("Subject: caf\xe9\r\n\r\nx"), "strict"),
    Case(
        "unknown encoding",
        header("Content-Type: multipart/mixed; boundary=x", "Content-Transfer-Encoding: x-unknown"),
        "strict",
    ),
    Case("table is not there", header("X-All: 1"), "broken"),
]

ADDRESSES = (
    "from@s.example, To <to@r.example> (c), mapped@a.example, u@sub.masq.example, root@sub.masq.example, "
)
ADDRESSES += 'u@masq.example, x+ext@old.example, local, "quoted one"@old.example, g: mapped+e@a.example;, <>'
PLACES = ["From", "To", "Cc", "Sender", "Reply-To", "Errors-To", "Return-Receipt-To"]
CASES += [Case(f"mapped {place}", f"{place}: {ADDRESSES}\r\n\r\nx\r\n".encode(), "maps") for place in PLACES]
CASES += [
    Case(
        "masqueraded quotes",
        header('Sender: "@@x.test:))."@h.masq.example', 'From: a"b c"@h.masq.example, "b c"@h.masq.example'),
        "maps",
    ),
    Case("nothing mapped in Subject", header("Subject: from@s.example", "X-To: to@r.example"), "maps"),
]
