"""header_checks, body_checks and smtp_header_checks in tables that ask a server, in a running relay."""

from __future__ import annotations

import re
import smtplib

import pytest

from support.keeping_sink import KeepingSink
from support.relay import Fastrelay, until
from support.scripted_server import ScriptedServer

ANSWERS = {
    b"Subject: Bad": b"REJECT not that",
    b"b\xe4d line": b"REJECT not in Latin-1",
    b"X-Sent: 1": b"IGNORE",
}


class Rules:
    """A socketmap; while `down` it hangs up."""

    def __init__(self) -> None:
        self.down = False

    def __call__(self, request: bytes) -> bytes | None:
        if self.down:
            return None
        key = request.partition(b" ")[2].removesuffix(b",")
        answer = ANSWERS.get(key)
        text = b"NOTFOUND " if answer is None else b"OK " + answer
        return b"%d:%b," % (len(text), text)


def send(relay: Fastrelay, content: bytes) -> tuple[int, bytes]:
    with relay.smtp() as client:
        client.ehlo()
        client.mail("a@b.test")
        client.rcpt("c@d.test")
        try:
            return client.data(content)
        except smtplib.SMTPDataError as error:
            return error.smtp_code, bytes(error.smtp_error)


@pytest.mark.parametrize("prefix", ["", "proxy:"])
def test_checks_that_ask_a_server(prefix: str) -> None:
    rules = Rules()
    with ScriptedServer(rules) as server, KeepingSink() as sink:
        table = f"{prefix}socketmap:inet:{server.address}:rules"
        main = {
            "relayhost": sink.next_hop,
            "header_checks": table,
            "body_checks": table,
            "smtp_header_checks": table,
            "fastrelay_table_retry_time": "0",
            "fastrelay_table_cache_time": "0",
            "fastrelay_table_negative_cache_time": "0",
        }
        with Fastrelay(main) as relay:
            assert send(relay, b"Subject: Bad\r\n\r\nx\r\n") == (550, b"5.7.1 not that")
            assert send(relay, b"Subject: bad\r\n\r\nb\xe4d line\r\n") == (550, b"5.7.1 not in Latin-1")
            assert send(relay, b"Subject: ok\r\nX-Sent: 1\r\nX-Sent: 2\r\n\r\nfine\r\n")[0] == 250
            (message,) = sink.wait(1)
            assert b"X-Sent: 2" in message.content and b"X-Sent: 1" not in message.content
            rules.down = True
            assert send(relay, b"Subject: ok\r\n\r\nfine\r\n")[0] == 451
            name = re.escape(table)
            relay.wait_log(rf"warning: {name} is unavailable\. ")
            relay.wait_log("header_checks map lookup problem -- message not accepted, try again later")
            rules.down = False
            until(lambda: send(relay, b"Subject: ok\r\n\r\nfine\r\n")[0] == 250)
            sink.wait(2)
            assert "panic" not in relay.log()
