"""smtp_header_checks and its family, smtp_generic_maps in headers: Postfix sends the same and says the same."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from content_lab import normal
from scenario_parts import IS_ROOT

from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, MailSystem, Postfix

KINDS = ("header", "mime", "nested", "body")
RULES = {kind: f"/^(X-Act:|ACT) (.*)/ $2\n/^(X-All|ALL)/ INFO {kind}\n" for kind in KINDS}
CHECKS = {
    "smtp_header_checks": "regexp:$config_directory/header",
    "smtp_mime_header_checks": "regexp:$config_directory/mime",
    "smtp_nested_header_checks": "regexp:$config_directory/nested",
    "smtp_body_checks": "regexp:$config_directory/body",
}
GENERIC = (
    "inline:{{a@a.example = x@mapped.example} {b@b.example = y@mapped.example} {@o.example = @n.example}}"
)
ACTIONS = [
    "WARN careful",
    "INFO",
    "IGNORE",
    "STRIP it",
    "DUNNO",
    "REPLACE X-New: y",
    "REPLACE Cc: a@a.example",
]
ACTIONS += [
    "REPLACE bad",
    "PREPEND X-P: 1",
    "PREPEND bad",
    "REJECT no",
    "HOLD",
    "DISCARD",
    "FILTER a:b",
    "BCC",
    "odd",
]
HEADER = ["From: A B <a@a.example>", "To: b@b.example, Old <old@o.example>,", " other@x", "Subject: s"]
HEADER += ["Reply-To: x@y.z", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=bb"]
ODD = r"""
x@mas.test )"A. B"Name
<@x:c@l.test>,a
"a b" <"c d"@t.test>
"a" c@h
<a b@c>
']@x.test:<(c (d))@x.test:
x<y@z
<x,y@z>
<a [b c]@z>
<a "" @z>
<"a b" "c"@z> "q" q
a@
x)<y z@q
x,"<"<y z@q
"""
HEADER += [f"Cc: {odd}{more}" for odd in ODD.strip().split("\n") for more in ("", ", a@a.example")]
BODY = [
    "pre",
    "--bb",
    "X-All: part",
    "From: a@a.example",
    "Content-Type: message/rfc822",
    "",
    "X-All: nested",
    "",
]
BODY += [
    "ACT WARN body",
    "ACT REPLACE .dots",
    "ACT PREPEND line",
    "ACT IGNORE",
    "",
    "ALL: y",
    ".dot",
    "--bb--",
    "",
]
MESSAGE = "\r\n".join([*HEADER, *(f"X-Act: {action}" for action in ACTIONS), "X-All: 1", "", *BODY]).encode()


def deliver(kind: type[MailSystem], main: dict[str, str]) -> tuple[bytes, list[str]]:
    """What the server got, and what the SMTP client logged."""
    with (
        KeepingSink() as sink,
        kind({**main, "mail_name": "Mail", "relayhost": sink.next_hop}, RULES) as relay,
    ):
        name = relay.send("s@s.example", "r@r.example", MESSAGE)
        kept = sink.wait(1)[0]
        relay.wait_log(f"{name}: removed")
        lines = re.findall(r"/smtp\[\d+\]: (.*)", relay.log())
    return normal(kept.content), [line.replace(name, "QID") for line in lines if "relay=" not in line]


@pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
@pytest.mark.parametrize(
    "main", [CHECKS, {"smtp_generic_maps": GENERIC}, CHECKS | {"smtp_generic_maps": GENERIC}]
)
def test_postfix_sends_the_same(main: dict[str, str]) -> None:
    with ThreadPoolExecutor() as threads:  # they do not know of each other
        played = [threads.submit(deliver, kind, main) for kind in (Postfix, Fastrelay)]
    theirs, ours = played[0].result(), played[1].result()
    assert ours == theirs
    assert (b"x@mapped.example" in ours[0]) == ("smtp_generic_maps" in main)
    assert (len(ours[1]) > 10) == ("smtp_header_checks" in main)


def test_a_table_that_cannot_answer_defers() -> None:
    with (
        KeepingSink() as sink,
        Fastrelay({"smtp_header_checks": "fail:none", "relayhost": sink.next_hop}) as relay,
    ):
        relay.send()
        relay.wait_log(r"status=deferred \(smtp header checks lookup error\)")
        relay.wait_log(r"smtp_header_checks map lookup problem -- delivery deferred")
        assert not sink.messages
