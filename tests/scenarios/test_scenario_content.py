"""Header and body checks and MIME limits: Debian's Postfix and this relay do the same with the same messages.

Replies, what cleanup logs, who gets what: content_cases.py has the messages, content_lab.py plays them.
"""

import re
import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest
from content_cases import CASES, CONFIGURATIONS
from content_lab import play
from scenario_parts import IS_ROOT

from support.differential import Mail, Plan, compare
from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, MailSystem, Postfix


@pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_postfix_does_the_same(configuration: str) -> None:
    cases = [case for case in CASES if case.configuration == configuration]
    with ThreadPoolExecutor() as threads:  # they do not know of each other
        played = [threads.submit(play, kind, configuration, cases) for kind in (Postfix, Fastrelay)]
    (theirs, their_warnings), (ours, our_warnings) = played[0].result(), played[1].result()
    for case, their, our in zip(cases, theirs, ours, strict=True):
        if case.name.startswith("differs "):
            assert our != their, case.name
        else:
            assert our == their, case.name
    assert our_warnings == their_warnings


def test_there_are_cases_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 80
    assert {case.configuration for case in CASES} == set(CONFIGURATIONS)


def test_a_map_of_header_addresses_that_cannot_answer() -> None:
    main = {"sender_canonical_maps": "fail:none", "sender_canonical_classes": "header_sender"}
    with Fastrelay(main) as relay, relay.smtp() as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail("s@s.example", ["r@r.example"], b"From: a@a.example\r\n\r\nx\r\n")
        assert refused.value.args == (451, b"4.3.0 Error: queue file write error")
        relay.wait_log("sender_canonical_maps map lookup problem for a@a.example -- message not accepted")
        relay.wait_log('fail:none lookup error for "a@a.example"')


TOLD = r"fail:none lookup error for .*|parameter local_header_rewrite_clients.*"


@pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
@pytest.mark.parametrize(
    ("clients", "completed"),
    [
        ("check_address_map inline:{127.0.0.1=ok}", True),
        ("inline:{10.0.0.1=ok}, permit_sasl_authenticated", False),
        ("nonsense, static:all", True),
        ("fail:none", None),
    ],
)
def test_local_header_rewrite_clients(clients: str, completed: bool | None) -> None:
    """None: MAIL is refused."""

    def replies(kind: type[MailSystem]) -> tuple[int, bytes, set[str]]:
        with KeepingSink() as sink:
            main = {"relayhost": sink.next_hop, "local_header_rewrite_clients": clients}
            with kind(main) as relay, relay.smtp() as client:
                client.ehlo()
                reply = client.mail("s@s.example")
                if reply[0] == 250:
                    assert client.rcpt("r@r.example")[0] == 250
                    assert client.data(b"To: x\r\n\r\nx\r\n")[0] == 250
                    assert (b"To: x@relay.test\r\n" in sink.wait()[0].header) == completed
                if clients.startswith(("fail", "nonsense")):
                    relay.wait_log(TOLD)
                return *reply, set(re.findall(TOLD, relay.log()))

    theirs, ours = replies(Postfix), replies(Fastrelay)
    assert ours[:2] == theirs[:2]
    assert (ours[0] == 250) == (completed is not None)
    assert ours[2] == theirs[2]


FILTERS = "/^X-Sink/ FILTER smtp:SINK\n/^X-F: (.*)/ FILTER $1\n/^X-R: (.*)/ REDIRECT $1\n"


@pytest.mark.skipif(not IS_ROOT, reason="Postfix must be started by root")
@pytest.mark.parametrize("next_hop", ["ELSEWHERE", ""])
def test_filters_redirections_and_default_filter_nexthop(next_hop: str) -> None:
    main = {"header_checks": "regexp:$config_directory/filters", "content_filter": "discard:a"}
    if next_hop:
        main["default_filter_nexthop"] = next_hop
    headers = [
        "X-Sink: 1",
        "X-F: discard:",
        "X-F: discard:b",
        "X-R: r@t.test",
        "X-R: r@t.test\r\nX-F: discard:c",
        "X: 1",
    ]
    headers += ["X-F: smtp:"] if next_hop else []
    mails = tuple(
        Mail("<s@t.test>", ("<b@t.test>", "<a@t.test>"), f"{header}\r\n\r\n".encode()) for header in headers
    )
    assert not compare(Plan("filters", main, {"filters": FILTERS}, mails))
