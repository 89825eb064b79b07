"""Header and body checks and MIME limits: Debian's Postfix and this relay do the same with the same messages.

Replies, what cleanup logs, who gets what: content_cases.py has the messages, content_lab.py plays them.
"""

import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest
from content_cases import CASES, CONFIGURATIONS
from content_lab import play
from scenario_parts import IS_ROOT

from support.relay import Fastrelay, Postfix


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
